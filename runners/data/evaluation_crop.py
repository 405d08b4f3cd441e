"""Crop of an evaluation: how an image becomes the model's input, for timm's loader and for images in memory.

An image is scaled so that the input is `crop_pct` of its side, and the middle is taken. Above 1 the scaled image is
smaller than the input, and the border is filled: RFC of Refiner (Zhou et al. 2021, arXiv:2106.03714, table 5), which
brings the whole image into the middle of the receptive field. `border` fills with the mean, the other modes with black.

Images in memory are scaled as tensors, by the sizes and offsets of timm's transform, so that it does not matter where a
dataset is held (tests/runners/data/test_evaluation_crop.py compares the two).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from runners.data.decoding import resize

__all__ = ["CropMode", "EvaluationCrop"]

CropMode = Literal["center", "squash", "border"]


@dataclass(frozen=True)
class EvaluationCrop:
    """Crop of an evaluation.

    Attributes:
        img_size: (height, width) of the input.
        mode: None: `center` where timm's loader reads the images; those in memory are cut to one size as for training,
            and resized whole.
        interpolation: `bilinear` or `bicubic`.
    """

    img_size: tuple[int, int]
    crop_pct: float = 1.0
    mode: CropMode | None = None
    interpolation: str = "bilinear"

    @property
    def scaled(self) -> tuple[int, int]:
        """(height, width) of which the input takes the middle, as timm computes it."""
        height, width = (math.floor(side / self.crop_pct) for side in self.img_size)
        return height, width

    def of(self, images: Tensor, fill: Tensor) -> Tensor:
        """Images (B, C, H, W) in 0..1, which all have one size, as inputs (B, C, *img_size).

        Args:
            fill: mean of each channel (C,), for the mode `border`.
        """
        mode = self.mode or "squash"
        height, width = images.shape[-2:]
        images = resize(images, scaled_size((height, width), self.scaled, mode), self.interpolation)
        # timm fills pixels of 8 bits.
        border = (255 * fill).round() / 255 if mode == "border" else torch.zeros_like(fill)
        return _middle(images, self.img_size, border)

    def in_effect(self, native: tuple[int, int] | None) -> tuple[object, ...]:
        """What of it decides the input; two crops with equal answers measure alike.

        Args:
            native: (height, width) of a dataset in memory; None: timm's loader reads images of any size.
        """
        if native is None:
            return self.img_size, self.scaled, self.mode or "center", self.interpolation
        scaled = scaled_size(native, self.scaled, self.mode or "squash")
        has_border = scaled[0] < self.img_size[0] or scaled[1] < self.img_size[1]
        return self.img_size, scaled, has_border and self.mode == "border", scaled != native and self.interpolation


def scaled_size(native: tuple[int, int], target: tuple[int, int], mode: CropMode) -> tuple[int, int]:
    """(height, width) to which an image is scaled: `squash` to the target itself, the others keep its proportions."""
    if mode == "squash":
        return target
    height, width = native
    if mode == "center" and target[0] == target[1]:  # torchvision's resizing of the shorter side cuts fractions off
        long = int(target[0] * max(native) / min(native))
        return (long, target[1]) if height > width else (target[0], long)
    ratios = height / target[0], width / target[1]
    ratio = max(ratios) if mode == "border" else min(ratios)
    return round(height / ratio), round(width / ratio)


def _middle(images: Tensor, size: tuple[int, int], border: Tensor) -> Tensor:
    """The middle of images (B, C, H, W); where they are smaller than `size`, with a border of this colour (C,)."""
    height, width = images.shape[-2:]
    if (height, width) == tuple(size):
        return images
    (top, top_from, rows), (left, left_from, columns) = (
        _overlap(side, wanted) for side, wanted in zip((height, width), size, strict=True)
    )
    inner = images[..., top_from : top_from + rows, left_from : left_from + columns]
    if (rows, columns) == tuple(size):
        return inner
    canvas = border.view(1, -1, 1, 1).expand(len(images), -1, *size).clone()
    canvas[..., top : top + rows, left : left + columns] = inner
    return canvas


def _overlap(side: int, wanted: int) -> tuple[int, int, int]:
    """(first place in the input, first place in the image, length) along one side; offsets are torchvision's."""
    if wanted > side:
        return (wanted - side) // 2, 0, side
    return 0, round((side - wanted) / 2), wanted
