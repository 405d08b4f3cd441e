"""Cost of segmentation networks: closed forms of every head, and the classifier's cost for the backbone."""

from __future__ import annotations

from typing import Any

import pytest

from modelzoo import measure_cost
from modelzoo.dense import SegmenterOptions, measure_segmenter_cost
from search_space.schema.trial import ArchSpec

PVT = {"model": "pvt_v2_b0", "options": {"depths": [1, 1, 1, 1], "embed_dims": [8, 16, 40, 64]}}
VIT = {"model": "vit", "depth": 2, "embed_dim": 16, "num_heads": 2, "patch_size": 8}
DIMS, K = (8, 16, 40, 64), 5
PIXELS = [64 * 96 // r**2 for r in (4, 8, 16, 32)]


def cost(arch, **options: Any):
    return measure_segmenter_cost(
        ArchSpec.model_validate(arch),
        num_classes=K,
        img_size=(64, 96),
        in_chans=3,
        options=SegmenterOptions(**options),
    )


def as_numbers(part) -> tuple[int, int]:
    return round(part.params_m * 1e6), round(part.gmacs * 1e9)


class Count:
    """Parameters and multiply-accumulates of layers, added by hand."""

    def __init__(self) -> None:
        self.params = self.macs = 0

    def conv(self, in_dim, dim, kernel, pixels, *, bias=False, norm=True):
        self.params += in_dim * dim * kernel**2 + dim * bias + 2 * dim * norm
        self.macs += in_dim * dim * kernel**2 * pixels
        return self

    def classifier(self, dim, pixels):
        return self.conv(dim, K, 1, pixels, bias=True, norm=False)

    @property
    def numbers(self) -> tuple[int, int]:
        return self.params, self.macs


def test_upernet_and_its_auxiliary_head():
    seen, d = cost(PVT, head_dim=12, pool_scales=(1, 2), aux_dim=6), 12
    head = Count().conv(64, d, 1, 1).conv(64, d, 1, 4).conv(64 + 2 * d, d, 3, PIXELS[3])
    for dim, pixels in zip(DIMS[:3], PIXELS[:3], strict=True):
        head.conv(dim, d, 1, pixels).conv(d, d, 3, pixels)
    head.conv(4 * d, d, 3, PIXELS[0]).classifier(d, PIXELS[0])
    assert as_numbers(seen.decode_head) == head.numbers
    assert as_numbers(seen.auxiliary_head) == Count().conv(40, 6, 3, PIXELS[2]).classifier(6, PIXELS[2]).numbers
    assert as_numbers(seen.neck) == (2 * sum(DIMS), 0)  # the norms of the levels


def test_semantic_fpn_and_its_pyramid():
    seen, d, h = cost(PVT, head="semantic_fpn", pyramid_dim=10, head_dim=6, aux_weight=0), 10, 6
    neck, head = Count(), Count()
    for dim, pixels in zip(DIMS, PIXELS, strict=True):
        neck.conv(dim, d, 1, pixels, bias=True, norm=False).conv(d, d, 3, pixels, bias=True, norm=False)
    head.conv(d, h, 3, PIXELS[0]).conv(d, h, 3, PIXELS[1])
    head.conv(d, h, 3, PIXELS[2]).conv(h, h, 3, PIXELS[1])
    head.conv(d, h, 3, PIXELS[3]).conv(h, h, 3, PIXELS[2]).conv(h, h, 3, PIXELS[1])
    assert as_numbers(seen.neck) == (neck.params + 2 * sum(DIMS), neck.macs)
    assert as_numbers(seen.decode_head) == head.classifier(h, PIXELS[0]).numbers
    assert as_numbers(seen.auxiliary_head) == (0, 0)


def test_simple_pyramid():
    """Of patches of 8 pixels: one transposed convolution, then two convolutions a level."""
    seen, d = cost(VIT, head="semantic_fpn", pyramid_dim=10), 10
    neck = Count()
    neck.params, neck.macs = 16 * 8 * 4 + 8, 16 * 8 * 4 * PIXELS[1]
    for dim, pixels in zip((8, 16, 16, 16), PIXELS, strict=True):
        neck.conv(dim, d, 1, pixels).conv(d, d, 3, pixels)
    assert as_numbers(seen.neck) == neck.numbers


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arch", "final"),
    [(VIT, (2 * 16, 0)), ({**VIT, "attention": "reattention"}, (2 * 16, 0)), (PVT, (0, 0))],
    ids=["vit", "vit + reattention", "pvt"],
)
def test_backbone_is_the_classifier_without_its_head_and_final_norm(arch, final):
    spec = ArchSpec.model_validate({**arch, "img_size": [64, 96]})
    params, macs = as_numbers(measure_cost(spec, img_size=(64, 96), in_chans=3, num_classes=K))
    dim = 16 if arch["model"] == "vit" else 64
    assert as_numbers(cost(arch).backbone) == (params - (dim + 1) * K - final[0], macs - dim * K - final[1])


def test_total_has_all_parameters_and_the_work_of_evaluation():
    seen = cost(PVT, head_dim=12, aux_dim=6)
    parts = [as_numbers(part) for part in (seen.backbone, seen.neck, seen.decode_head)]
    params, macs = as_numbers(seen.total)
    assert params == sum(part[0] for part in parts) + as_numbers(seen.auxiliary_head)[0]
    assert macs == sum(part[1] for part in parts)
