"""Options of a detector, the published values of each detector, and the sides to which its images are scaled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["DETECTORS", "DetectorOptions", "InputSides", "scaled_size"]

DETECTORS = ("mask_rcnn", "retinanet")

_FINEST = {"mask_rcnn": 4, "retinanet": 8}
# Of RetinaNet three scales within an octave, of a region proposal network one.
_OCTAVE_SCALES = {"mask_rcnn": (1.0,), "retinanet": (1.0, 2 ** (1 / 3), 2 ** (2 / 3))}


@dataclass(frozen=True)
class InputSides:
    """Sides of the images that a detector sees: the shorter one is `short` unless the longer one were over `long`."""

    short: int
    long: int


@dataclass(frozen=True, kw_only=True)
class DetectorOptions:
    """Options of a detector; the defaults are those of the published detectors.

    Args:
        detector: `mask_rcnn` or `retinanet`.
        pyramid: `fpn` (multi-stage backbones) or `simple` (isotropic ones); None: by the backbone.
        pyramid_dim: Channels of the pyramid, and of the heads that are convolved over it.
        finest_stride: Of the pyramid's first level; None: 4 for Mask R-CNN, 8 for RetinaNet.
        coarse_levels: Whether there are levels beyond stride 32: of Mask R-CNN a pooled one for the proposals, of
            RetinaNet P6 and P7.
        anchor_size: Side of the anchors at the finest level, in pixels of the scaled image; doubled per level.
        aspect_ratios: Height / width of the anchors.
        octave_scales: Sizes of the anchors at every level; None: one, of RetinaNet three, a third of an octave apart.
        box_dim: Channels of Mask R-CNN's box head, two linear layers.
        mask_dim, mask_layers: Channels and number of the convolutions of its mask head.
        detections: Most detections in an image.
        score_threshold: Least score of a detection.
        nms_threshold: IoU above which the lower score of two detections of one class is dropped.
        proposals: Proposals of an image that the heads of Mask R-CNN see: (in training, before they are sampled; in
            evaluation).
        candidates: Boxes of highest score by level, before non-maximum suppression: (in training, in evaluation) of the
            proposal network, the second also of RetinaNet.
        rpn_samples, box_samples: Anchors and proposals of an image that the losses of Mask R-CNN see.
        rpn_positives, box_positives: Largest share of them that are objects.
    """

    detector: str = "mask_rcnn"
    pyramid: str | None = None
    pyramid_dim: int = 256
    finest_stride: int | None = None
    coarse_levels: bool = True
    anchor_size: float = 32
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    octave_scales: tuple[float, ...] | None = None
    box_dim: int = 1024
    mask_dim: int = 256
    mask_layers: int = 4
    detections: int = 100
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    proposals: tuple[int, int] = (1000, 1000)
    candidates: tuple[int, int] = (2000, 1000)
    rpn_samples: int = 256
    box_samples: int = 512
    rpn_positives: float = 0.5
    box_positives: float = 0.25

    @property
    def finest(self) -> int:
        """Stride of the pyramid's first level."""
        return self.finest_stride or _FINEST[self.detector]

    def anchor_sizes(self, num_levels: int) -> tuple[tuple[float, ...], ...]:
        """Sides of the anchors at every level, the finest first."""
        scales: Sequence[float] = self.octave_scales or _OCTAVE_SCALES[self.detector]
        return tuple(tuple(self.anchor_size * 2**level * scale for scale in scales) for level in range(num_levels))


def scaled_size(size: tuple[int, int], sides: InputSides) -> tuple[int, int]:
    """(height, width) of an image after scaling, rounded down as torchvision's detectors do.

    `scaled_size((480, 640), InputSides(800, 1333)) == (800, 1066)`.
    """
    height, width = size
    factor = min(sides.short / min(size), sides.long / max(size))
    return max(1, int(height * factor)), max(1, int(width * factor))
