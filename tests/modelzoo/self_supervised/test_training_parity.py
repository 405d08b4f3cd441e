"""Parity of whole trainings with DINO's loop: a loop over the functions of this room and torch's AdamW."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modelzoo.self_supervised import (
    ProjectionHead,
    SelfSupervisedNetwork,
    build_feature_backbone,
    clip_each_gradient,
    cosine_schedule,
    mean_logits,
    skip_last_layers,
    teacher_of,
    teacher_temperature,
    undecayed_parameters,
    update_center,
    update_teacher,
    view_loss,
)
from search_space.schema.trial import ArchSpec


def official_name(name: str) -> str:
    return name.replace("backbone.model.", "backbone.")


def network_of(config: dict[str, Any], state: dict[str, torch.Tensor]) -> SelfSupervisedNetwork:
    sizes, head = config["backbone"], config["head"]
    assert (sizes["norm_eps"], sizes["qkv_bias"]) == (1e-6, True)  # timm's own
    names = ("patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio")
    arch = ArchSpec.model_validate({"model": "vit", **{name: sizes[name] for name in names}})
    backbone = build_feature_backbone(
        arch, img_size=sizes["img_size"], local_size=config["local_size"], in_chans=3, seed=0
    )
    projection = ProjectionHead(
        backbone.dim,
        head["out_dim"],
        hidden_dim=head["hidden_dim"],
        bottleneck_dim=head["bottleneck_dim"],
        num_layers=head["nlayers"],
        batch_norm=head["use_bn"],
        norm_last_layer=head["norm_last_layer"],
    )
    network = SelfSupervisedNetwork(backbone, projection)
    network.load_state_dict({name: state[official_name(name)] for name in network.state_dict()}, strict=True)
    return network


@pytest.mark.golden("dino_training")
def test_trainings_equal_the_released_loop(golden):
    config, tensors, tolerance = golden.meta["config"], golden.tensors, golden.meta["tolerance"]
    student = network_of(config, golden.group("initial."))
    teacher = teacher_of(student)
    undecayed = undecayed_parameters(student)
    assert [official_name(name) for name in undecayed] == config["undecayed"]
    groups: list[dict[str, Any]] = [
        {"params": [weight for name, weight in student.named_parameters() if (name in undecayed) is is_undecayed]}
        for is_undecayed in (False, True)
    ]
    optimizer = torch.optim.AdamW(groups)
    per_epoch, num_views = config["updates_per_epoch"], 2 + config["num_local"]
    num_updates = config["epochs"] * per_epoch
    center = torch.zeros(1, config["head"]["out_dim"])
    losses = []
    for update in range(num_updates):
        epoch = update // per_epoch
        for group, final in zip(optimizer.param_groups, (config["weight_decay_end"], 0.0), strict=True):
            group["lr"] = cosine_schedule(
                update,
                base=config["lr"],
                final=config["min_lr"],
                num_updates=num_updates,
                warmup_updates=config["warmup_epochs"] * per_epoch,
            )
            base = config["weight_decay"] if final else 0.0
            group["weight_decay"] = cosine_schedule(update, base=base, final=final, num_updates=num_updates)
        temperature = config["teacher_temp"]
        views = [tensors[f"step.{update}.crop.{view}"] for view in range(num_views)]
        with torch.no_grad():
            targets = teacher(views[:2]).logits
        loss = view_loss(
            student(views).logits,
            targets,
            center=center,
            num_views=num_views,
            student_temp=0.1,
            teacher_temp=teacher_temperature(
                epoch,
                start=temperature["warmup"],
                final=temperature["final"],
                warmup_epochs=temperature["warmup_epochs"],
            ),
        )
        losses.append(loss.item())
        update_center(center, mean_logits(targets), momentum=0.9)
        optimizer.zero_grad()
        loss.backward()
        if config["clip_grad_per_parameter"]:
            clip_each_gradient(student.parameters(), config["clip_grad_per_parameter"])
        if epoch < config["freeze_last_layer"]:
            skip_last_layers(student)
        optimizer.step()
        momentum = cosine_schedule(update, base=config["momentum_teacher"], final=1.0, num_updates=num_updates)
        update_teacher(teacher, student, momentum)
        torch.testing.assert_close(center, tensors[f"step.{update}.center"], rtol=0, atol=tolerance["center"])
    want = tensors["losses"].tolist()
    assert losses == pytest.approx(want, rel=0, abs=tolerance["losses"])
    for part, network in (("student", student), ("teacher", teacher)):
        for name, value in network.state_dict().items():
            key = f"{part}.{official_name(name)}"
            atol = tolerance["weights ending in qkv.bias" if key.endswith("qkv.bias") else "weights"]
            torch.testing.assert_close(
                value, tensors[key], rtol=0, atol=atol, msg=lambda text, key=key: f"{key}: {text}"
            )
