"""Cost of a detector: parameters of the whole network; multiply-accumulates of what every image needs.

Counted are backbone, norms and pyramid, and the head over all anchors (Mask R-CNN's proposal network; RetinaNet's
classes and boxes), of one image of the evaluated size, on the meta device. The box and mask heads of Mask R-CNN run
once per proposal or detection, whose number depends on the image and on what was learned: they are not counted.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch

from modelzoo.dense.detection.detector import build_detector
from modelzoo.dense.detection.options import DetectorOptions, InputSides
from modelzoo.factory.cost import Cost, counted
from search_space.schema.trial import ArchSpec

__all__ = ["DetectorCost", "measure_detector_cost"]


@dataclass(frozen=True)
class DetectorCost:
    """Cost of one image.

    Attributes:
        backbone, dense: The backbone alone; all that is counted.
        params_m: Parameters of the whole network in 10^6.
        size: (height, width) of the image.
    """

    backbone: Cost
    dense: Cost
    params_m: float
    size: tuple[int, int]

    @property
    def total(self) -> Cost:
        """Parameters of all parts; multiply-accumulates of those that are counted."""
        return Cost(params_m=self.params_m, gmacs=self.dense.gmacs)


def measure_detector_cost(
    arch: ArchSpec,
    *,
    num_classes: int,
    img_size: int | tuple[int, int],
    in_chans: int,
    sides: InputSides | None = None,
    options: DetectorOptions | None = None,
) -> DetectorCost:
    """Parameters, and multiply-accumulates of one image in evaluation mode; results are cached.

    The image has the sides `short` and `long`, rounded up to what is padded to; the canvas where the backbone takes no
    other size.

    Raises:
        SpecError: architecture, canvas and options do not fit.
    """
    canvas = (img_size, img_size) if isinstance(img_size, int) else (img_size[0], img_size[1])
    sides = sides or InputSides(min(canvas), min(canvas))
    return _measure(arch.model_dump_json(), num_classes, canvas, in_chans, sides, options or DetectorOptions())


@functools.lru_cache(maxsize=4096)
def _measure(
    arch_json: str,
    num_classes: int,
    canvas: tuple[int, int],
    in_chans: int,
    sides: InputSides,
    options: DetectorOptions,
) -> DetectorCost:
    arch = ArchSpec.model_validate_json(arch_json)
    shape = {"num_classes": num_classes, "img_size": canvas, "in_chans": in_chans}
    with torch.device("meta"):
        model = build_detector(arch, sides=sides, options=options, **shape).eval()
        size = canvas
        if model.backbone.multiple_of is not None:
            multiple = math.lcm(32, model.backbone.multiple_of)
            height, width = (-(-side // multiple) * multiple for side in (sides.short, sides.long))
            size = (height, width)
        images = torch.empty(1, in_chans, *size)
        backbone, _ = counted(model.backbone, images)
        whole, _ = counted(model, images)
    trunk = sum(parameter.numel() for parameter in model.network.backbone.parameters()) / 1e6
    return DetectorCost(backbone, Cost(trunk, whole.gmacs), whole.params_m, size)
