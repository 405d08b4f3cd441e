"""Contract of self-supervised networks over families of models: features, weights, gradients, sizes and teachers."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from modelzoo import build_model
from modelzoo.self_supervised import build_self_supervised, region_loss, teacher_of, view_loss
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

from ..conftest import kin_slow

pytestmark = pytest.mark.thorough

CANVAS, LOCAL = 64, 32
TEMPERATURES = {"student_temp": 0.1, "teacher_temp": 0.05}

RATES = {"drop_path_rate": 0.3, "proj_drop_rate": 0.2, "attn_drop_rate": 0.2}
HOST_RATES = {"pos_drop_rate": 0.2, "patch_drop_rate": 0.4, "drop_rate": 0.2}


@dataclass(frozen=True)
class Row:
    """Small model; its features; regions of a global and of a local view (None: it takes the global size only)."""

    model: str
    dim: int
    regions: int
    local_regions: int | None
    fields: dict[str, Any] = field(default_factory=dict)
    rates: dict[str, Any] = field(default_factory=lambda: RATES)


PLAIN = {"depth": 2, "embed_dim": 48, "num_heads": 3}
STAGES = {"depths": [1, 1, 1, 1]}
WINDOWS = {"embed_dim": 24, "options": {"depths": [2, 1, 1, 1], "window_size": 2}}
SHARING = {"name": "refiner", "sharing": "alternate"}
COAT = {"embed_dims": [16, 16, 32, 32], "serial_depths": [1, 1, 1, 1]}


def plain(model: str, local_regions: int | None, dim: int = 48, **fields: Any) -> Row:
    rates = fields.pop("rates", RATES)
    return Row(model, dim, 16, local_regions, fields={**PLAIN, "embed_dim": dim, **fields}, rates=rates)


ROWS = {
    "vit": plain("vit", 4, rates={**RATES, "options": HOST_RATES}),
    "vit that pools means": plain("vit", 4, class_token=False, global_pool="avg"),
    "vit with registers": plain("vit", 4, options={"reg_tokens": 2}),
    "vit without positions of prefix tokens": plain("vit", 4, options={"reg_tokens": 2, "no_embed_class": True}),
    "vit without positions": plain("vit", 4, options={"pos_embed": "none"}),
    "vit that pools by attention": plain("vit", 4, global_pool="map"),
    "vit + reattention": plain("vit", 4, attention="reattention"),
    "vit + refiner": plain("vit", 4, attention="refiner"),
    "vit + maps that blocks share": plain("vit", 4, attention=SHARING),
    "vit + groupmix": plain("vit", None, dim=60, attention="groupmix"),
    "vit_tiny": plain("vit_tiny_patch16_224", 4),
    "deit with two tokens": plain("deit_tiny_distilled_patch16_224", 4),
    "deepvit": plain("deepvit_16b_patch16_224", 4),
    "deepvit with convolutional stem": plain("deepvit_small_patch16_224", 4, options={"reattention_blocks": 1}),
    "refined_vit": plain("refined_vit_small_patch16_224", None),
    "eva02": plain("eva02_tiny_patch14_224", 4, patch_size=16),
    "beit": plain("beit_base_patch16_224", None),
    "groupmixformer": Row(
        "groupmixformer_mobile_224",
        40,
        4,
        1,
        fields={"num_heads": 4, "options": {**STAGES, "embed_dims": [20, 20, 40, 40], "mlp_ratios": [2, 2, 2, 2]}},
    ),
    "focal": Row(
        "focal_tiny_patch4_window7_224", 96, 4, None, fields={"embed_dim": 12, "num_heads": 1, "options": STAGES}
    ),
    "focal version 2": Row(
        "focalv2_tiny_conv_patch4_window7_224",
        96,
        4,
        None,
        fields={
            "embed_dim": 12,
            "num_heads": 1,
            "options": {**STAGES, "window_size": 1, "expand_sizes": 0, "num_nearest_keys": 2},
        },
    ),
    "regionvit": Row(
        "regionvit_tiny_224",
        128,
        1,
        1,
        fields={"embed_dim": 16, "num_heads": 1, "options": {**STAGES, "window_size": 2}},
    ),
    "lg_transformer": Row(
        "lg_transformer_tiny_224",
        192,
        4,
        1,
        fields={"embed_dim": 24, "options": {**STAGES, "window_size": 2, "paths": [[1, 2], [1, 2], [1, 2], [1]]}},
    ),
    "swin": Row("swin_tiny_patch4_window7_224", 192, 4, 1, fields=WINDOWS),
    "swin + reattention": Row(
        "swin_tiny_patch4_window7_224", 192, 4, 1, fields={**WINDOWS, "attention": "reattention"}
    ),
    "swinv2": Row("swinv2_tiny_window8_256", 192, 4, 1, fields=WINDOWS),
    "pvt_v2": Row("pvt_v2_b0", 64, 4, 1, fields={"options": {**STAGES, "embed_dims": [8, 16, 40, 64]}}),
    "pvt_v2 + groupmix": Row("pvt_v2_b0", 256, 4, 1, fields={"attention": "groupmix", "options": STAGES}),
    "coat_lite": Row("coat_lite_tiny", 32, 4, None, fields={"options": COAT}),
    "coat with parallel blocks": Row(
        "coat_tiny", 32, 4, None, fields={"options": {**COAT, "embed_dims": [32] * 4, "parallel_depth": 1}}
    ),
    "resnet": Row("resnet18", 512, 4, 1, rates={"drop_path_rate": 0.3, "options": {"drop_rate": 0.2}}),
}


def arch_of(row: Row, **changes: Any) -> ArchSpec:
    return ArchSpec.model_validate({"model": row.model, **row.fields, **changes})


def network_of(row: Row, *, seed: int = 0, **changes: Any):
    local = CANVAS if row.local_regions is None else LOCAL
    heads = {"prototypes": 6, "hidden_dim": 8, "bottleneck_dim": 5}
    arch = arch_of(row, **changes)
    return build_self_supervised(arch, img_size=CANVAS, local_size=local, in_chans=3, regions=True, seed=seed, **heads)


def views(row: Row, num_images: int = 3) -> list[torch.Tensor]:
    """Two global views and one local one."""
    local = CANVAS if row.local_regions is None else LOCAL
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(num_images, 3, side, side, generator=generator) for side in (CANVAS, CANVAS, local)]


KIN = {
    "coat with parallel blocks",
    "coat_lite",
    "deepvit with convolutional stem",
    "focal",
    "pvt_v2",
    "pvt_v2 + groupmix",
    "refined_vit",
    "swin + reattention",
    "swinv2",
    "vit + groupmix",
    "vit that pools by attention",
    "vit that pools means",
    "vit with registers",
    "vit without positions",
    "vit without positions of prefix tokens",
    "vit_tiny",
}
"""Rows beside which others have the same code paths: slow."""


@pytest.fixture(scope="module", params=kin_slow(sorted(ROWS), KIN))
def row(request):
    return ROWS[request.param]


@pytest.fixture(scope="module")
def network(row):
    return network_of(row)


def test_shapes_are_those_of_all_views(row, network):
    output = network.eval()(views(row))
    local = row.regions if row.local_regions is None else row.local_regions
    assert output.num_regions == (row.regions, row.regions, local)
    assert output.logits.shape == (9, 6)
    assert output.region_logits.shape == (3 * (2 * row.regions + local), 6)
    assert output.region_features.shape == (3 * (2 * row.regions + local), row.dim)
    assert (network.backbone.dim, network.backbone.region_dim) == (row.dim, row.dim)


def test_rows_are_those_of_each_view_by_itself(row, network):
    """View-major, images within a view; one batch of two views is no other computation."""
    network.eval()
    given = views(row)
    with torch.no_grad():
        together = network(given)
        alone = [network([view]) for view in given]
    for name in ("logits", "region_logits", "region_features"):
        want = torch.cat([getattr(each, name) for each in alone])
        torch.testing.assert_close(getattr(together, name), want, rtol=1e-4, atol=1e-5)


def test_feature_is_what_the_classifier_takes(row, network):
    """At the canvas: also where the backbone was built for a second size."""
    classifier = build_model(arch_of(row, img_size=CANVAS), img_size=CANVAS, in_chans=3, num_classes=0, seed=0).eval()
    images = views(row)[0]
    with torch.no_grad():
        torch.testing.assert_close(network.eval().backbone(images), classifier(images), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_weights_are_those_of_the_classifier(row):
    """Bit-equal at equal seed, in the blocks of a mechanism as well; heads draw from streams of their own."""
    state = build_model(arch_of(row, img_size=CANVAS), img_size=CANVAS, in_chans=3, num_classes=0, seed=1).state_dict()
    one, other = network_of(row, seed=1), network_of(row, seed=1)
    ours = one.backbone.model.state_dict()
    assert [key for key, value in ours.items() if not torch.equal(value, state[key])] == []
    assert ours.keys() == state.keys()
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())
    assert not torch.equal(one.head.last_layer.weight_v, one.region_head.last_layer.weight_v)


def losses(row, student, teacher):
    given = views(row)
    with torch.no_grad():
        targets = teacher(given[:2])
    output = student(given)
    total = view_loss(output.logits, targets.logits, center=torch.zeros(6), num_views=3, **TEMPERATURES)
    return total, region_loss(
        output.region_logits,
        targets.region_logits,
        student_features=output.region_features,
        teacher_features=targets.region_features,
        num_regions=output.num_regions,
        teacher_num_regions=targets.num_regions,
        center=torch.zeros(6),
        **TEMPERATURES,
    )


def test_gradient_reaches_every_parameter(row):
    """Of both losses together, and of the view loss alone for what it uses: distributed training needs all of them."""
    student = network_of(row)
    teacher = teacher_of(student)
    by_views, by_regions = losses(row, student, teacher)
    by_views.backward(retain_graph=True)
    without = {name for name, weight in student.named_parameters() if weight.grad is None}
    assert {name.partition(".")[0] for name in without} == {"region_head"}
    by_regions.backward()
    assert [name for name, weight in student.named_parameters() if weight.grad is None] == []
    assert all(weight.grad.isfinite().all() for weight in student.parameters())
    assert [name for name, weight in teacher.named_parameters() if weight.grad is not None] == []


@pytest.mark.slow
def test_teacher_is_the_student_without_random_parts(row):
    """In training mode with every rate above 0: no random number is drawn, and the first output is the student's."""
    student, given = network_of(row, **row.rates), views(row)
    teacher = teacher_of(student)
    assert teacher.training
    state = torch.random.get_rng_state()
    with torch.no_grad():
        first = teacher(given[:2]).logits
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.no_grad():
        student(given[:2])
    assert not torch.equal(torch.random.get_rng_state(), state)  # the student does draw some
    with torch.no_grad():
        torch.testing.assert_close(first, network_of(row)(given[:2]).logits, rtol=1e-5, atol=1e-6)


def test_copies_and_pickles_compute_the_same(row, network):
    """Also of the second size."""
    network.eval()
    given = views(row)
    with torch.no_grad():
        want = network(given)
        for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
            assert torch.equal(twin(given).logits, want.logits)


@pytest.mark.parametrize("name", sorted(name for name, row in ROWS.items() if row.local_regions is None))
def test_models_of_one_size_take_no_local_views_of_another(name):
    arch = arch_of(ROWS[name])
    with pytest.raises(SpecError) as caught:
        build_self_supervised(arch, img_size=CANVAS, local_size=LOCAL, in_chans=3, prototypes=6, seed=0)
    message, start = str(caught.value), f"task.local_size: {arch.model!r} built for 64x64 images does not take local"
    assert message.startswith(f"{start} views of 32x32: ")
    assert "\n  write local_size: 64 (local views are then enlarged), or choose a size or a model that fits" in message
