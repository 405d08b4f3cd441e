"""Parity with DINO and EsViT: heads, losses with their gradients and centres, schedules, features of other sizes."""

from __future__ import annotations

import pytest
import torch

from modelzoo.self_supervised import (
    ProjectionHead,
    build_feature_backbone,
    cosine_schedule,
    mean_logits,
    region_loss,
    teacher_temperature,
    update_center,
    view_loss,
)
from modelzoo.self_supervised.positions import interpolated_positions
from search_space.schema.trial import ArchSpec


def assert_close(golden, ours, name):
    tolerance = golden.meta["tolerance"]
    torch.testing.assert_close(ours, golden.tensors[name], atol=tolerance["atol"], rtol=tolerance["rtol"])


@pytest.mark.golden("dino_head")
def test_head_equals_the_released_one(golden):
    config = golden.meta["config"]
    head = ProjectionHead(
        config["in_dim"],
        config["out_dim"],
        hidden_dim=config["hidden_dim"],
        bottleneck_dim=config["bottleneck_dim"],
        num_layers=config["nlayers"],
        batch_norm=config.get("use_bn", False),
        norm_last_layer=config["norm_last_layer"],
    )
    head.load_state_dict(golden.group("state."), strict=True)
    assert_close(golden, head.eval()(golden.tensors["input"]), "output")


def steps(golden):
    """Temperatures, expected loss and tensors of every step of a recorded loss."""
    config = golden.meta["config"]
    for step, (epoch, temperature) in enumerate(zip(golden.meta["epochs"], golden.meta["teacher_temps"], strict=True)):
        ours = teacher_temperature(
            epoch,
            start=config["warmup_teacher_temp"],
            final=config["teacher_temp"],
            warmup_epochs=config["warmup_teacher_temp_epochs"],
        )
        assert ours == pytest.approx(temperature, rel=1e-12)
        yield f"step{step}", {"student_temp": config["student_temp"], "teacher_temp": ours}


@pytest.mark.golden("dino_loss")
def test_view_loss_equals_the_released_one(golden):
    """Over several steps, each with the centre that the step before left."""
    tensors, config = golden.tensors, golden.meta["config"]
    center = tensors["center_init"].clone()
    for step, temperatures in steps(golden):
        student = tensors[f"{step}.student"].clone().requires_grad_()
        teacher = tensors[f"{step}.teacher"]
        loss = view_loss(student, teacher, center=center, num_views=config["ncrops"], **temperatures)
        loss.backward()
        assert_close(golden, loss.detach().reshape(1), f"{step}.loss")
        assert_close(golden, student.grad, f"{step}.grad_student")
        update_center(center, mean_logits(teacher), momentum=config["center_momentum"])
        assert_close(golden, center, f"{step}.center_after")


@pytest.mark.golden("esvit_ddino_loss")
def test_view_and_region_loss_equal_the_released_ones(golden):
    """The released total is the mean of both; without local views, too."""
    tensors, config, meta = golden.tensors, golden.meta["config"], golden.meta
    centers = tensors["center_init"].clone(), tensors["center_grid_init"].clone()
    num_regions = [meta["npatch_global"]] * 2 + [meta["npatch_local"]] * (config["ncrops"] - 2)
    for step, temperatures in steps(golden):
        found = {name.removeprefix(f"{step}."): value for name, value in tensors.items() if name.startswith(step)}
        views, regions = (found[f"student_{part}"].clone().requires_grad_() for part in ("cls", "region"))
        loss = 0.5 * view_loss(
            views, found["teacher_cls"], center=centers[0], num_views=config["ncrops"], **temperatures
        ) + 0.5 * region_loss(
            regions,
            found["teacher_region"],
            student_features=found["student_fea"],
            teacher_features=found["teacher_fea"],
            num_regions=num_regions,
            teacher_num_regions=num_regions[:2],
            center=centers[1],
            **temperatures,
        )
        loss.backward()
        assert_close(golden, loss.detach().reshape(1), f"{step}.loss")
        assert_close(golden, views.grad, f"{step}.grad_student_cls")
        assert_close(golden, regions.grad, f"{step}.grad_student_region")
        for center, part, name in zip(centers, ("cls", "region"), ("center", "center_grid"), strict=True):
            update_center(center, mean_logits(found[f"teacher_{part}"]), momentum=config["center_momentum"])
            assert_close(golden, center, f"{step}.{name}_after")


@pytest.mark.golden("dino_schedules")
def test_schedules_equal_the_released_ones(golden):
    config = golden.meta["config"]
    per_epoch = config["niter_per_ep"]
    for name in ("lr", "wd", "momentum"):
        options = config[name]
        schedule = {
            "base": options["base"],
            "final": options["final"],
            "num_updates": config["epochs"] * per_epoch,
            "warmup_updates": options.get("warmup_epochs", 0) * per_epoch,
            "start": options.get("start_warmup_value", 0.0),
        }
        ours = [cosine_schedule(update, **schedule) for update in range(schedule["num_updates"])]
        assert_close(golden, torch.tensor(ours, dtype=torch.float64), name)


@pytest.mark.golden("dino_vit")
def test_features_of_all_sizes_equal_the_released_ones(golden):
    config, tensors = golden.meta["config"], golden.tensors
    names = ("patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio")
    arch = ArchSpec.model_validate({"model": "vit", **{name: config[name] for name in names}})
    canvas = config["img_size"][0]
    other = next(tuple(size) for size in golden.meta["sizes"] if size[0] != canvas)
    backbone = build_feature_backbone(arch, img_size=canvas, local_size=other, in_chans=3, seed=0).eval()
    backbone.model.load_state_dict(golden.group("state."), strict=True)
    grid = (canvas // config["patch_size"],) * 2
    for index, (height, width) in enumerate(golden.meta["sizes"]):
        images = tensors[f"input{index}"]
        new_grid = (height // config["patch_size"], width // config["patch_size"])
        with torch.no_grad():
            positions = interpolated_positions(backbone.model.pos_embed, num_prefix=1, old_grid=grid, new_grid=new_grid)
            assert_close(golden, positions, f"pos{index}")
            assert_close(golden, backbone(images), f"output{index}")
            assert_close(golden, backbone.last_blocks(images, 4), f"last4_cls{index}")
            # The class token of the last block is the feature, whichever way it is computed.
            torch.testing.assert_close(backbone.with_regions(images).pooled, backbone(images))
