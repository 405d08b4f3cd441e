"""Photometric distortion: brightness, contrast, saturation and hue, each with a probability of one half.

The recipe of SSD (Liu et al. 2016, arXiv:1512.02325) with the ranges that mmsegmentation uses for ADE20K and
Cityscapes: brightness moves by up to 32 of 255, contrast multiplies the pixels by 0.5 to 1.5, saturation that of HSV by
0.5 to 1.5, hue turns by up to 36 degrees. Contrast comes before saturation and hue or after them, with equal odds.

Differs: pixels stay floating-point numbers between the steps (there they are rounded to 8 bits after each, and hue
turns in steps of 2 degrees).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

__all__ = ["PhotometricDistortion", "saturated"]


@dataclass(frozen=True)
class PhotometricDistortion:
    """Random distortion of one image.

    Attributes:
        brightness: largest shift, as a part of full scale.
        contrast, saturation: smallest and largest factor.
        hue: largest turn, as a part of the circle.
        probability: of each of the four.
    """

    brightness: float = 32 / 255
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: float = 0.1
    probability: float = 0.5

    def __call__(self, image: Tensor) -> Tensor:
        """Image (C, H, W), 0..1, drawn from torch's global generator; grey images have neither saturation nor hue."""
        if self._drawn():
            image = (image + _uniform(-self.brightness, self.brightness)).clamp(0, 1)
        contrast_first = bool(torch.rand(()) < 0.5)
        if contrast_first:
            image = self._contrasted(image)
        if image.shape[0] == 3:
            if self._drawn():
                image = saturated(image, _uniform(*self.saturation))
            if self._drawn():
                image = functional.adjust_hue(image, _uniform(-self.hue, self.hue)).clamp(0, 1)
        return image if contrast_first else self._contrasted(image)

    def _contrasted(self, image: Tensor) -> Tensor:
        return (image * _uniform(*self.contrast)).clamp(0, 1) if self._drawn() else image

    def _drawn(self) -> bool:
        return bool(torch.rand(()) < self.probability)


def saturated(image: Tensor, factor: float) -> Tensor:
    """Image (3, H, W) whose saturation of HSV is `factor` times as large, at most 1; hue and value stay.

    Every channel's distance from the largest one is proportional to the saturation, so no conversion is needed.
    """
    value = image.amax(0, keepdim=True)
    span = value - image.amin(0, keepdim=True)
    most = torch.where(span > 0, value / span.clamp_min(1e-12), 1.0)  # the factor at which the saturation is 1
    return (value - (value - image) * most.clamp_max(factor)).clamp(0, 1)


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))
