"""Contract of backbones over families of models: maps, weights, gradients and image sizes, on small versions.

The canvas is not square, so that a map with its axes exchanged, or with channels last, has another shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from modelzoo import build_model
from modelzoo.dense import build_backbone
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

from ..conftest import kin_slow

pytestmark = pytest.mark.thorough

CANVAS = (64, 96)
PYRAMID = (4, 8, 16, 32)


@dataclass(frozen=True)
class Row:
    """Small model, what its maps must be, and of what the sides of images must be multiples (None: only the canvas)."""

    model: str
    channels: tuple[int, ...]
    multiple_of: int | None
    reductions: tuple[int, ...] = PYRAMID
    fields: dict[str, Any] = field(default_factory=dict)


PLAIN = {"depth": 2, "embed_dim": 48, "num_heads": 3}
STAGES = {"depths": [1, 1, 1, 1]}
WINDOWS = {"embed_dim": 24, "options": {"depths": [2, 1, 1, 1], "window_size": 2}}
FOCAL = {"embed_dim": 12, "num_heads": 1}
UNUSED = {"head", "aux_head", "fc", "norm", "norm4", "fc_norm"}  # by the maps
SHARING = {"name": "refiner", "sharing": "alternate"}
DOUBLED = (24, 48, 96, 192)


def plain(model: str, multiple_of: int | None, patch: int = 16, dim: int = 48, **fields: Any) -> Row:
    return Row(model, (dim,), multiple_of, (patch,), {**PLAIN, "embed_dim": dim, **fields})


ROWS = {
    "vit": plain("vit", 16),
    "vit of patch 8": plain("vit", 8, patch=8, patch_size=8),
    "vit with registers": plain("vit", 16, options={"reg_tokens": 2}),
    "vit + reattention": plain("vit", 16, attention="reattention"),
    "vit + refiner": plain("vit", 16, attention="refiner"),
    "vit + maps that blocks share": plain("vit", 16, attention=SHARING),
    "vit + groupmix": plain("vit", None, dim=60, attention="groupmix"),
    "vit_tiny": plain("vit_tiny_patch16_224", 16),
    "deepvit": plain("deepvit_16b_patch16_224", 16),
    "deepvit with convolutional stem": plain("deepvit_small_patch16_224", 1, options={"reattention_blocks": 1}),
    "refined_vit": plain("refined_vit_small_patch16_224", None),
    "eva02": plain("eva02_tiny_patch14_224", 16, patch_size=16),
    "beit": plain("beit_base_patch16_224", None),
    "groupmixformer": Row(
        "groupmixformer_mobile_224",
        (20, 20, 40, 40),
        1,
        fields={"num_heads": 4, "options": {**STAGES, "embed_dims": [20, 20, 40, 40], "mlp_ratios": [2, 2, 2, 2]}},
    ),
    "focal": Row("focal_tiny_patch4_window7_224", (12, 24, 48, 96), None, fields={**FOCAL, "options": STAGES}),
    "focal version 2": Row(
        "focalv2_tiny_conv_patch4_window7_224",
        (12, 24, 48, 96),
        None,
        fields={**FOCAL, "options": {**STAGES, "window_size": 1, "expand_sizes": 0, "num_nearest_keys": 2}},
    ),
    "regionvit": Row(
        "regionvit_tiny_224",
        (16, 32, 64, 128),
        1,
        fields={"embed_dim": 16, "num_heads": 1, "options": {**STAGES, "window_size": 2}},
    ),
    "lg_transformer": Row(
        "lg_transformer_tiny_224",
        DOUBLED,
        4,
        fields={"embed_dim": 24, "options": {**STAGES, "window_size": 2, "paths": [[1, 2], [1, 2], [1, 2], [1]]}},
    ),
    "swin": Row("swin_tiny_patch4_window7_224", DOUBLED, 4, fields=WINDOWS),
    "swin + reattention": Row(
        "swin_tiny_patch4_window7_224", DOUBLED, 4, fields={**WINDOWS, "attention": "reattention"}
    ),
    "swinv2": Row("swinv2_tiny_window8_256", DOUBLED, 4, fields=WINDOWS),
    "pvt_v2": Row("pvt_v2_b0", (8, 16, 40, 64), 1, fields={"options": {**STAGES, "embed_dims": [8, 16, 40, 64]}}),
    "pvt_v2 + groupmix": Row("pvt_v2_b0", (32, 64, 160, 256), 1, fields={"attention": "groupmix", "options": STAGES}),
    "coat_lite": Row(
        "coat_lite_tiny",
        (16, 16, 32, 32),
        None,
        fields={"options": {"embed_dims": [16, 16, 32, 32], "serial_depths": [1, 1, 1, 1]}},
    ),
    "resnet": Row("resnet18", (64, 128, 256, 512), 1),
}


def arch_of(row: Row, **changes: Any) -> ArchSpec:
    return ArchSpec.model_validate({"model": row.model, **row.fields, **changes})


def images(size=CANVAS, num=2):
    return torch.randn(num, 3, *size, generator=torch.Generator().manual_seed(0))


KIN = {
    "deepvit with convolutional stem",
    "pvt_v2",
    "swinv2",
    "vit of patch 8",
    "vit_tiny",
}
"""Rows beside which others have the same code paths: slow."""


@pytest.fixture(scope="module", params=kin_slow(sorted(ROWS), KIN))
def row(request):
    return ROWS[request.param]


@pytest.fixture(scope="module")
def backbone(row):
    return build_backbone(arch_of(row), img_size=CANVAS, in_chans=3, seed=0)


def test_maps_are_as_stated_and_channels_come_first(row, backbone):
    assert (backbone.channels, backbone.reductions) == (row.channels, row.reductions)
    sizes = [(2, dim, CANVAS[0] // r, CANVAS[1] // r) for dim, r in zip(row.channels, row.reductions, strict=True)]
    with torch.no_grad():
        assert [tuple(each.shape) for each in backbone.eval()(images())] == sizes


def test_maps_are_those_of_the_classifier(row, backbone):
    """Also where the backbone was built for any size: nothing changes at the canvas."""
    classifier = build_model(arch_of(row, img_size=CANVAS), img_size=CANVAS, in_chans=3, num_classes=0, seed=0).eval()
    with torch.no_grad():
        want = classifier.forward_intermediates(images(), output_fmt="NCHW", intermediates_only=True)
        got = backbone.eval()(images())
    for level, each in zip(backbone.levels, got, strict=True):
        torch.testing.assert_close(each, want[level], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_classes", [0, 5])
def test_weights_are_those_of_the_classifier(row, num_classes):
    """Bit-equal at equal seed, in the blocks of a mechanism as well."""
    arch, shape = arch_of(row, img_size=CANVAS), {"img_size": CANVAS, "in_chans": 3, "num_classes": num_classes}
    state = build_model(arch, **shape, seed=1).state_dict()
    ours = build_backbone(arch, **shape, seed=1).model.state_dict()
    assert [key for key, value in ours.items() if not torch.equal(value, state[key])] == []
    assert {key.partition(".")[0] for key in set(state) - set(ours)} <= UNUSED


def test_gradient_reaches_every_parameter(row, backbone):
    """Distributed training fails if a parameter has none."""
    backbone.train().zero_grad()
    sum(each.square().sum() for each in backbone(images())).backward()
    assert [name for name, weight in backbone.named_parameters() if weight.grad is None] == []


def test_other_sizes_work_where_they_are_claimed_and_are_refused_elsewhere(row, backbone):
    assert backbone.multiple_of == row.multiple_of
    backbone.eval()
    step = row.multiple_of
    if step is None:
        with pytest.raises(SpecError, match="built for 64x96 images, but got 96x64\n  legal: only 64x96; pad"):
            backbone(images((96, 64)))
        return
    for size in ((CANVAS[0] + step, CANVAS[1] + 2 * step), (CANVAS[0] - step, CANVAS[1] + step)):
        with torch.no_grad():
            maps = backbone(images(size, num=1))
        for each, dim, reduction in zip(maps, row.channels, row.reductions, strict=True):
            assert each.shape[1] == dim
            assert abs(each.shape[2] - size[0] / reduction) < 1
            assert abs(each.shape[3] - size[1] / reduction) < 1
            assert each.isfinite().all()
    if step > 1:
        with pytest.raises(SpecError, match=f"legal: sides that are multiples of {step}; pad"):
            backbone(images((CANVAS[0] + 1, CANVAS[1])))
