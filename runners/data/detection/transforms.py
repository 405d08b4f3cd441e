"""Transforms of an image together with its objects, by torchvision's kinds of tensors.

    training     flip, random scale (short side from a range), objects that vanished are dropped, normalisation
    evaluation   the image in its own size, normalised: the detector scales it, and gives boxes in pixels of the image

The random scale is part of the augmentation, so that it comes from the image's own random stream and is the same for
all architectures of one seed. It is bilinear without antialiasing, as the scaling inside torchvision's detectors, so
that training and evaluation see images of the same kind. Boxes are floating-point numbers throughout: whole ones would
be cut by transforms.

Shapes:  C channels, N objects, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import SanitizeBoundingBoxes, functional

from modelzoo.dense.detection.options import InputSides, scaled_size
from runners.data.detection.objects import Truth, target_of

__all__ = ["EvaluationTransform", "TrainingTransform"]

_SMALLEST = 1.0
"""Pixels of the sides of a box below which its object is dropped."""


@dataclass(frozen=True)
class TrainingTransform:
    """Random transform of an image and its objects.

    Attributes:
        mean, std: per channel, for pixels in 0..1.
        short_sides: smallest and largest short side of the results, both included.
        long_side: most of the longer side, before which the short side gives way.
        hflip: probability of a horizontal flip.
        masks: whether targets have masks.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    short_sides: tuple[int, int]
    long_side: int
    hflip: float = 0.5
    masks: bool = True

    def __call__(self, image: Any, truth: Truth) -> tuple[Tensor, dict[str, Tensor]]:
        """Image (C, H, W) float32 and its target: `boxes`, `labels`, and `masks` at its size (see `target_of`)."""
        pixels, size = _pixels(image), truth.objects.size
        target = target_of(truth.objects, masks=self.masks)
        boxes = tv_tensors.BoundingBoxes(target["boxes"], format="XYXY", canvas_size=size)  # pyright: ignore[reportCallIssue]
        sample: dict[str, Any] = {"image": tv_tensors.Image(pixels), "boxes": boxes, "labels": target["labels"]}
        if self.masks:
            sample["masks"] = tv_tensors.Mask(target["masks"])
        short = int(torch.randint(self.short_sides[0], self.short_sides[1] + 1, ()))
        if torch.rand(()) < self.hflip:
            sample |= {key: functional.horizontal_flip(each) for key, each in sample.items() if key != "labels"}
        sample = _scaled(sample, scaled_size(size, InputSides(short, self.long_side)))
        sample = SanitizeBoundingBoxes(min_size=_SMALLEST)(sample)
        plain = {key: each.as_subclass(Tensor) for key, each in sample.items()}
        return _normalised(plain.pop("image"), self.mean, self.std), plain


@dataclass(frozen=True)
class EvaluationTransform:
    """The image as it is, normalised; and its objects as they are."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Any, truth: Truth) -> tuple[Tensor, Truth]:
        """Image (C, H, W) float32 in its own size, and its truth."""
        return _normalised(_pixels(image).float() / 255, self.mean, self.std), truth


def _pixels(image: Any) -> Tensor:
    """(C, H, W) uint8."""
    return image if isinstance(image, Tensor) else functional.pil_to_tensor(image)


def _scaled(sample: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """The sample in another size, its image as floating-point numbers in 0..1."""
    unit = tv_tensors.Image(sample["image"].as_subclass(Tensor).float() / 255)
    if tuple(unit.shape[-2:]) == size:
        return sample | {"image": unit}
    bilinear = {"interpolation": InterpolationMode.BILINEAR, "antialias": False}
    scaled = {
        "image": tv_tensors.Image(functional.resize(unit, list(size), **bilinear)),
        "boxes": functional.resize(sample["boxes"], list(size)),
    }
    if "masks" in sample:
        # As a plain tensor: of masks, some versions of torchvision replace the interpolation by `nearest`, which
        # shifts them against the image.
        plain = sample["masks"].as_subclass(Tensor)
        nearest = functional.resize(plain, list(size), interpolation=InterpolationMode.NEAREST_EXACT)
        scaled["masks"] = tv_tensors.Mask(nearest)
    return sample | scaled


def _normalised(unit: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (unit - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
