"""Cost of feature backbones: that of the classifier without its last layer, at the canvas."""

from __future__ import annotations

import pytest

from modelzoo import measure_cost
from modelzoo.self_supervised import measure_feature_cost
from search_space.schema.trial import ArchSpec

VIT = {"model": "vit", "depth": 2, "embed_dim": 16, "num_heads": 2, "patch_size": 8}
PVT = {"model": "pvt_v2_b0", "options": {"depths": [1, 1, 1, 1], "embed_dims": [8, 16, 40, 64]}}


def as_numbers(cost) -> tuple[int, int]:
    return round(cost.params_m * 1e6), round(cost.gmacs * 1e9)


@pytest.mark.parametrize(("arch", "dim"), [(VIT, 16), ({**VIT, "attention": "reattention"}, 16), (PVT, 64)])
@pytest.mark.parametrize("local", [None, 32])
def test_cost_is_that_of_the_classifier_without_its_last_layer(arch, dim, local):
    """Local views of another size change nothing of one image of the canvas."""
    spec, shape = ArchSpec.model_validate(arch), {"img_size": (64, 96), "in_chans": 3}
    params, macs = as_numbers(measure_cost(spec.model_copy(update={"img_size": (64, 96)}), **shape, num_classes=5))
    assert as_numbers(measure_feature_cost(spec, **shape, local_size=local)) == (params - 5 * (dim + 1), macs - 5 * dim)
