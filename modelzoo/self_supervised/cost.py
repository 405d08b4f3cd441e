"""Exact cost of a feature backbone, counted on the meta device as the cost of a classifier is.

The heads are not counted: they serve the training only, and what is compared afterwards are features.
"""

from __future__ import annotations

import functools

import torch

from modelzoo.factory.cost import Cost, counted
from modelzoo.self_supervised.backbone import build_feature_backbone
from search_space.schema.trial import ArchSpec

__all__ = ["measure_feature_cost"]


def measure_feature_cost(
    arch: ArchSpec,
    *,
    img_size: int | tuple[int, int],
    local_size: int | tuple[int, int] | None = None,
    in_chans: int,
) -> Cost:
    """Parameters, and multiply-accumulates of one image of the canvas in evaluation mode; results are cached.

    Args:
        img_size, local_size: As in `build_feature_backbone`.

    Raises:
        SpecError: the architecture cannot be built for these sizes.
    """
    return _measure(arch.model_dump_json(), img_size, local_size, in_chans)


@functools.lru_cache(maxsize=4096)
def _measure(
    arch_json: str, img_size: int | tuple[int, int], local_size: int | tuple[int, int] | None, in_chans: int
) -> Cost:
    arch = ArchSpec.model_validate_json(arch_json)
    with torch.device("meta"):
        model = build_feature_backbone(arch, img_size=img_size, local_size=local_size, in_chans=in_chans).eval()
        image = torch.empty(1, in_chans, *model.canvas)
    return counted(model, image)[0]
