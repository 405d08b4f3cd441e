"""Pixels of a batch as the model's input: scaled to 0..1, resized or cropped, normalised.

Separate because images in memory and images that timm's loader reads end in the same way. The operations are those of
torchvision's `ToTensor` and `Normalize`, in their order, so the bits are theirs, too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from runners.data.dataset_info import DataInfo
from runners.data.decoding import resize
from runners.data.evaluation_crop import EvaluationCrop

__all__ = ["ModelInputs"]

_CACHED_VALUES = 1 << 17  # float32: half a MiB, a part of what a core has as its own cache


class ModelInputs:
    """Makes inputs (B, C, H, W), float32, of pixels (B, C, H, W), uint8 in 0..255 or float32 in 0..1.

    On a CPU some images are made at a time, which stay in its cache from step to step.
    """

    def __init__(self, info: DataInfo, img_size: tuple[int, int], device: torch.device) -> None:
        self._img_size = img_size
        self._mean = torch.tensor(info.mean, device=device).view(1, -1, 1, 1)
        self._std = torch.tensor(info.std, device=device).view(1, -1, 1, 1)

    def of(self, pixels: Tensor, crop: EvaluationCrop | None = None) -> Tensor:
        """Inputs of these pixels, of the size `img_size`.

        Args:
            crop: of an evaluation, with a size of its own; default: whole images, resized.
        """
        img_size = self._img_size if crop is None else crop.img_size
        found = torch.empty((*pixels.shape[:2], *img_size), device=pixels.device)
        values = pixels.shape[1] * max(math.prod(pixels.shape[2:]), math.prod(img_size))
        size = max(1, _CACHED_VALUES // values) if pixels.device.type == "cpu" else max(1, len(pixels))
        for part, out in zip(pixels.split(size), found.split(size), strict=True):
            unit = part.float().div_(255) if part.dtype == torch.uint8 else part
            images = resize(unit, img_size) if crop is None else crop.of(unit, self._mean.flatten())
            torch.sub(images, self._mean, out=out).div_(self._std)
        return found
