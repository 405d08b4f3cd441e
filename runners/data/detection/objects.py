"""Objects of an image: what a detector is trained on, and what its detections are compared with.

    objects      as COCO has them: boxes x, y, width, height; masks as polygons or run lengths, in the image's size
    target       as a detector is trained on: boxes left, top, right, bottom; masks as pixels; no crowds
    truth        the objects of one image of the evaluated split, by its position in it

Shapes:  N objects, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Objects", "Truth", "pixels_of", "target_of"]


@dataclass(frozen=True)
class Objects:
    """Objects of one image.

    Attributes:
        size: (height, width) of the image.
        boxes: x, y, width, height in pixels, (N, 4).
        labels: class of each, (N,) integers.
        areas: in pixels, (N,); None: width times height.
        is_crowd: regions of many objects, whose detections are neither right nor wrong, (N,); None: none is.
        masks: polygons or RLE as in COCO's `segmentation`, N of them; None: boxes only.
    """

    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    areas: np.ndarray | None = None
    is_crowd: np.ndarray | None = None
    masks: tuple[Any, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)


class Truth(NamedTuple):
    """What is to be found in an image. `image`: its position in the split."""

    image: int
    objects: Objects


def target_of(objects: Objects, *, masks: bool) -> dict[str, Tensor]:
    """`boxes` (N, 4) float32: left, top, right, bottom; `labels` (N,) int64; on request `masks` (N, H, W) uint8.

    Crowds, and boxes without width or height, are left out: neither can be trained on.
    """
    boxes = np.asarray(objects.boxes, dtype=np.float64).reshape(-1, 4)
    is_kept = (boxes[:, 2:] > 0).all(axis=1)
    if objects.is_crowd is not None:
        is_kept &= ~objects.is_crowd.astype(bool)
    kept = np.flatnonzero(is_kept)
    corners = np.concatenate([boxes[kept, :2], boxes[kept, :2] + boxes[kept, 2:]], axis=1)
    target = {
        "boxes": torch.from_numpy(corners).float(),
        "labels": torch.from_numpy(np.asarray(objects.labels, dtype=np.int64)[kept]),
    }
    if masks:
        assert objects.masks is not None, "checked where the data is opened"
        drawn = [pixels_of(objects.masks[at], objects.size) for at in kept]
        target["masks"] = torch.from_numpy(np.stack(drawn) if drawn else np.zeros((0, *objects.size), dtype=np.uint8))
    return target


def pixels_of(mask: Any, size: tuple[int, int]) -> np.ndarray:
    """Pixels (H, W) uint8 of polygons, or of run lengths, compressed or not; as the evaluation draws them."""
    from faster_coco_eval.core import mask as coco_masks  # pyright: ignore[reportMissingImports]  # an optional extra

    height, width = size
    return np.ascontiguousarray(coco_masks.decode(coco_masks.segmToRle(mask, width, height)), dtype=np.uint8)
