"""Random erasing of images that are not normalised yet: what is erased is drawn with each image, and done in the batch.

timm erases after normalisation, by zeros or normal numbers. To normalise image by image costs more than to do so with
a whole batch; but the rectangles must come from the image's own stream of random numbers, which is there while it is
augmented. So timm's erasing is given a stand-in for the image that takes down what is written into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from search_space.schema.trial import TrainSpec

__all__ = ["Erased", "WithErasing", "erase"]

Erased = Sequence[tuple[Any, Tensor]]
"""What is written into an image (C, H, W), in this order: places, as indices, and values."""


class WithErasing:
    """A transform to pixels, and what is then to be erased of them.

    Args:
        transform: from a PIL image to pixels (C, H, W), not normalised.
        train: `reprob`, `remode` and `recount` are those of the erasing.
    """

    def __init__(self, transform: Callable[[Image.Image], Tensor], train: TrainSpec) -> None:
        self._transform = transform
        self._erasing = RandomErasing(train.reprob, mode=train.remode, max_count=train.recount, device="cpu")

    def __call__(self, image: Image.Image) -> tuple[Tensor, Erased]:
        pixels = self._transform(image)
        stand_in: Any = _StandIn(pixels.shape)
        self._erasing(stand_in)
        return pixels, stand_in.written


class _StandIn:
    """All of an image (C, H, W) that erasing needs: its size, its type, and that it can be written into."""

    dtype = torch.float32

    def __init__(self, shape: torch.Size) -> None:
        self._shape = shape
        self.written: list[tuple[Any, Tensor]] = []

    def size(self) -> torch.Size:
        return self._shape

    def __setitem__(self, place: Any, values: Tensor) -> None:
        self.written.append((place, values))


def erase(image: Tensor, erased: Erased) -> None:
    """Write into a normalised image (C, H, W)."""
    for place, values in erased:
        image[place] = values
