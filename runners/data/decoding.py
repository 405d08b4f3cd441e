"""Decoding of datasets of PIL images into one tensor; image size and labels without decoding everything.

Images of differing sizes are resized to cover the common size, then cropped in the middle. A dataset is kept in its own
size where the model needs a larger one; `resize` enlarges batch by batch, so that memory is bounded by the dataset
and not by the model. All resizing is bilinear with antialiasing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from runners.data.dataset_info import Images

__all__ = ["decode", "first_image_size", "labels_of", "pil_mode", "resize"]


def pil_mode(in_chans: int) -> str:
    return "L" if in_chans == 1 else "RGB"


def first_image_size(dataset: Any) -> tuple[int, int]:
    """(height, width) of the first image, taken as the size of all."""
    image, _ = next(iter(dataset))
    return image.height, image.width


def labels_of(dataset: Any) -> np.ndarray:
    """Labels of a dataset with random access, without decoding images where the reader allows it."""
    reader = getattr(dataset, "reader", None)
    if hasattr(dataset, "targets"):
        labels = dataset.targets
    elif hasattr(reader, "iter_targets"):
        labels = list(reader.iter_targets())  # pyright: ignore[reportOptionalMemberAccess]
    elif hasattr(reader, "samples"):
        labels = [sample[1] for sample in reader.samples]  # pyright: ignore[reportOptionalMemberAccess]
    else:
        labels = [dataset[index][1] for index in range(len(dataset))]
    return np.asarray(labels, dtype=np.int64)


def decode(dataset: Any, img_size: tuple[int, int], in_chans: int) -> Images:
    """All images as uint8, in `img_size` or in the size of the first image, whichever has fewer pixels."""
    labels = torch.from_numpy(labels_of(dataset))
    arrays = _arrays(dataset, in_chans)
    if arrays is not None:
        return Images(arrays, labels)
    height, width = min(img_size, first_image_size(dataset), key=lambda size: size[0] * size[1])
    pixels = torch.empty((len(dataset), in_chans, height, width), dtype=torch.uint8)
    for index in range(len(dataset)):
        image = dataset[index][0].convert(pil_mode(in_chans))
        array = torch.from_numpy(np.array(_fit(image, height, width)))
        pixels[index] = array.reshape(height, width, in_chans).permute(2, 0, 1)
    return Images(pixels, labels)


def resize(images: Tensor, img_size: tuple[int, int]) -> Tensor:
    """Float images (B, C, H, W) resized to `img_size` without cropping; unchanged where they have it already."""
    if tuple(images.shape[-2:]) == tuple(img_size):
        return images
    return functional.interpolate(images, size=tuple(img_size), mode="bilinear", antialias=True, align_corners=False)


def _arrays(dataset: Any, in_chans: int) -> Tensor | None:
    """Pixels (N, C, H, W) of torchvision's CIFAR and MNIST, which hold all in one array; None for other datasets."""
    data = getattr(dataset, "data", None)
    if not isinstance(data, np.ndarray | Tensor):
        return None
    pixels = torch.as_tensor(data)
    pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    if pixels.shape[1] == 1:
        return pixels.expand(-1, in_chans, -1, -1).contiguous()  # grey as RGB: PIL repeats the channel, too
    return pixels.contiguous() if pixels.shape[1] == in_chans else None


def _fit(image: Image.Image, height: int, width: int) -> Image.Image:
    if (image.height, image.width) == (height, width):
        return image
    scale = max(height / image.height, width / image.width)
    box_height, box_width = height / scale, width / scale
    top, left = (image.height - box_height) / 2, (image.width - box_width) / 2
    box = (left, top, left + box_width, top + box_height)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)
