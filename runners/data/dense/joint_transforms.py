"""Transforms of an image together with its label map: whatever moves a pixel moves its label.

    training     random scale, random crop (padded to its size), flip, photometric distortion, normalisation
    evaluation   the whole image at one scale, normalised; the label map as it is: labels are never resized there

This is the augmentation of the semantic segmentation recipes for ADE20K and Cityscapes (UperNet, Semantic FPN).
Padding is below and to the right: the image with 0 after normalisation, which is the mean colour, the label map with
the ignored label.

Labels are scaled by the nearest pixel measured between centres (`nearest-exact`), as bilinear resizing of the image
measures; `nearest` would shift them against the image (by 0.26 to 0.64 pixels of the original, measured).

All numbers are drawn from torch's global generator: the caller seeds it for every image (`pair_loader.py`).

Shapes: C channels; H, W height and width of a result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nn_functional
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from runners.data.dense.photometric import PhotometricDistortion

__all__ = ["EvaluationTransform", "TrainingTransform"]

_MOST_CROPS = 10


@dataclass(frozen=True)
class TrainingTransform:
    """Random transform of an image and its label map to one size.

    Attributes:
        crop: (height, width) of the results.
        mean, std: per channel, for pixels in 0..1.
        scale: smallest and largest factor, relative to `short_side`.
        short_side: of the image at factor 1; None: its own.
        long_side: the longer side is at most factor times this.
        most_of_one_class: share of the valid pixels of a crop that one class may have; a crop with more is drawn again,
            up to 10 times. 1: the first crop is taken.
        hflip: probability of a horizontal flip.
        distortion: of the colours; None: none.
        ignore_label: label of padding, and of pixels without a class.
    """

    crop: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: tuple[float, float] = (0.5, 2.0)
    short_side: int | None = None
    long_side: int | None = None
    most_of_one_class: float = 0.75
    hflip: float = 0.5
    distortion: PhotometricDistortion | None = field(default_factory=PhotometricDistortion)
    ignore_label: int = 255

    def __call__(self, image: Any, label_map: np.ndarray) -> tuple[Tensor, Tensor]:
        """Image (C, H, W) float32 and classes (H, W) int64.

        Args:
            image: PIL image of 8 bits a channel.
            label_map: its classes, uint8.
        """
        pixels, labels = _tensors(image, label_map)
        factor = self.scale[0] + (self.scale[1] - self.scale[0]) * float(torch.rand(()))
        size = _scaled(tuple(labels.shape[-2:]), factor, self.short_side, self.long_side)
        pixels, labels = _resized(pixels, size), _resized_labels(labels, size)
        top, left = self._corner(labels)
        height, width = min(self.crop[0], size[0]), min(self.crop[1], size[1])
        pixels, labels = (functional.crop(each, top, left, height, width) for each in (pixels, labels))
        if torch.rand(()) < self.hflip:
            pixels, labels = (functional.horizontal_flip(each) for each in (pixels, labels))
        unit = pixels.as_subclass(Tensor).float() / 255
        if self.distortion is not None:
            unit = self.distortion(unit)
        padding = (0, self.crop[1] - width, 0, self.crop[0] - height)
        return (
            nn_functional.pad(_normalised(unit, self.mean, self.std), padding),
            nn_functional.pad(labels.as_subclass(Tensor)[0].long(), padding, value=self.ignore_label),
        )

    def _corner(self, labels: Tensor) -> tuple[int, int]:
        """Top left corner of a crop in which no class has too many of the valid pixels; of the last one otherwise."""
        tops, lefts = (max(have - want, 0) + 1 for have, want in zip(labels.shape[-2:], self.crop, strict=True))
        top = left = 0
        for _ in range(1 + _MOST_CROPS):
            top, left = int(torch.randint(tops, ())), int(torch.randint(lefts, ()))
            if self.most_of_one_class >= 1:
                break
            inside = labels[0, top : top + self.crop[0], left : left + self.crop[1]]
            counts = torch.bincount(inside.as_subclass(Tensor).flatten().int(), minlength=256)
            counts[self.ignore_label] = 0
            valid = int(counts.sum())
            if valid and int(counts.max()) <= self.most_of_one_class * valid:
                break
        return top, left


@dataclass(frozen=True)
class EvaluationTransform:
    """The whole image, at one scale; the label map in its own size.

    Attributes:
        mean, std: per channel, for pixels in 0..1.
        short_side: of the result; None: the image's own.
        long_side: most of the longer side, before which `short_side` gives way.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    short_side: int | None = None
    long_side: int | None = None

    def __call__(self, image: Any, label_map: np.ndarray) -> tuple[Tensor, Tensor]:
        """Image (C, H, W) float32; classes int64 in the size of the label map."""
        pixels, labels = _tensors(image, label_map)
        pixels = _resized(pixels, _scaled(tuple(labels.shape[-2:]), 1.0, self.short_side, self.long_side))
        unit = pixels.as_subclass(Tensor).float() / 255
        return _normalised(unit, self.mean, self.std), labels.as_subclass(Tensor)[0].long()


def _tensors(image: Any, label_map: np.ndarray) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """(C, H, W) and (1, H, W), both uint8; kinds that torchvision's functions tell apart."""
    return tv_tensors.Image(functional.pil_to_tensor(image)), tv_tensors.Mask(torch.from_numpy(label_map.copy())[None])


def _scaled(size: tuple[int, ...], factor: float, short_side: int | None, long_side: int | None) -> tuple[int, int]:
    """(height, width), in proportion, rounded half up."""
    height, width = size
    if short_side is not None:
        at_1 = short_side / min(height, width)
        factor *= at_1 if long_side is None else min(at_1, long_side / max(height, width))
    elif long_side is not None:
        factor *= min(1.0, long_side / max(height, width))
    return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


def _resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    return functional.resize(pixels, list(size), interpolation=InterpolationMode.BILINEAR, antialias=True)


def _resized_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(labels.shape[-2:]) == size:
        return labels
    # As a plain tensor: of masks, some versions of torchvision replace the interpolation by `nearest`.
    plain = functional.resize(labels.as_subclass(Tensor), list(size), interpolation=InterpolationMode.NEAREST_EXACT)
    return tv_tensors.Mask(plain)


def _normalised(unit: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (unit - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
