"""Exact cost of a segmentation network, part by part, counted on the meta device as the cost of a classifier is.

Matrix products, convolutions and fused attention are counted; norms, activations, pooling and bilinear resizing are
not.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from modelzoo.dense.options import SegmenterOptions
from modelzoo.dense.segmenter import build_segmenter
from modelzoo.factory.cost import Cost, counted
from search_space.schema.trial import ArchSpec

__all__ = ["SegmenterCost", "measure_segmenter_cost"]


@dataclass(frozen=True)
class SegmenterCost:
    """Cost of one forward pass of one image at the canvas, by part.

    `neck` are the norms of the levels and the pyramid. The auxiliary head is computed in training only.
    """

    backbone: Cost
    neck: Cost
    decode_head: Cost
    auxiliary_head: Cost

    @property
    def total(self) -> Cost:
        """Parameters of all parts; multiply-accumulates of evaluation, without the auxiliary head."""
        evaluated = (self.backbone, self.neck, self.decode_head)
        return Cost(
            params_m=sum(part.params_m for part in (*evaluated, self.auxiliary_head)),
            gmacs=sum(part.gmacs for part in evaluated),
        )


def measure_segmenter_cost(
    arch: ArchSpec,
    *,
    num_classes: int,
    img_size: int | tuple[int, int],
    in_chans: int,
    options: SegmenterOptions | None = None,
) -> SegmenterCost:
    """Parameters and multiply-accumulates of one image of the canvas in evaluation mode; results are cached.

    Raises:
        SpecError: architecture, canvas and options do not fit.
    """
    canvas = (img_size, img_size) if isinstance(img_size, int) else (img_size[0], img_size[1])
    return _measure(arch.model_dump_json(), num_classes, canvas, in_chans, options)


@functools.lru_cache(maxsize=4096)
def _measure(
    arch_json: str, num_classes: int, canvas: tuple[int, int], in_chans: int, options: SegmenterOptions | None
) -> SegmenterCost:
    arch = ArchSpec.model_validate_json(arch_json)
    with torch.device("meta"):
        model = build_segmenter(
            arch, num_classes=num_classes, img_size=canvas, in_chans=in_chans, options=options
        ).eval()
        images = torch.empty(1, in_chans, *canvas)
        backbone, maps = counted(model.backbone, images)
        neck, levels = counted(model.neck, maps)
        decode_head, _ = counted(model.decode_head, levels)
        auxiliary_head = Cost(params_m=0.0, gmacs=0.0)
        if model.auxiliary_head is not None:
            auxiliary_head, _ = counted(model.auxiliary_head, model.auxiliary_map(levels))
    return SegmenterCost(backbone, neck, decode_head, auxiliary_head)
