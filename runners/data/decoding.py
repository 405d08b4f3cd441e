"""Decoding of images into one mode, and of datasets of PIL images into one tensor.

Images of differing sizes are resized to cover the common size, then cropped in the middle. The common size is that of
the dataset (`readers/sizes.py`), the same for both splits. A dataset is kept in its own size where the model needs a
larger one; `resize` enlarges batch by batch, so that memory is bounded by the dataset and not by the model. All
resizing is bilinear with antialiasing, unless a trial asks for another one in its evaluation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torch.nn import functional

from runners.data.dataset_info import DataInfo, Images, SourceInfo, Split
from runners.data.readers.labels import labels_of

__all__ = ["cut_to_size", "decode", "held_alike", "imagenet_statistics", "in_mode", "pil_mode", "resize"]

_OF_16_BITS = ("PNG", "PPM")  # formats whose 16-bit images Pillow opens with 32 bits


def imagenet_statistics(in_chans: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """ImageNet's mean and standard deviation of each channel, for pixels in 0..1; of grey images averaged."""
    if in_chans == 1:
        return (0.449,), (0.226,)
    return tuple(IMAGENET_DEFAULT_MEAN), tuple(IMAGENET_DEFAULT_STD)


def pil_mode(in_chans: int) -> str:
    return "L" if in_chans == 1 else "RGB"


def in_mode(image: Image.Image, in_chans: int) -> Image.Image:
    """The image, decoded, with 8 bits a channel: 16 bits are scaled (65,535 becomes 255), where Pillow would clip them.

    Raises:
        ValueError: the range of the pixels is not known (32 bits, floating-point numbers).
        OSError: the image cannot be decoded.
    """
    if image.mode.startswith("I"):
        if image.mode == "I" and image.format not in _OF_16_BITS:
            raise ValueError("pixels of 32 bits, whose range is not known")
        scaled = np.rint(np.asarray(image).astype(np.float64) / 257)
        image = Image.fromarray(scaled.clip(0, 255).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("pixels are floating-point numbers, whose range is not known")
    # Also a copy of an image that has the mode: it is decoded by then, and the file may be closed.
    return image.convert(pil_mode(in_chans))


def decode(dataset: Any, size: tuple[int, int], in_chans: int, interpolation: str = "bilinear") -> Images:
    """All images as uint8, cut to `size` (height, width)."""
    labels = torch.from_numpy(labels_of(dataset))
    arrays = _arrays(dataset, in_chans)
    if arrays is not None:
        return Images(arrays, labels)
    height, width = size
    pixels = torch.empty((len(dataset), in_chans, height, width), dtype=torch.uint8)
    for index in range(len(dataset)):
        image = in_mode(dataset[index][0], in_chans)
        array = torch.from_numpy(np.array(cut_to_size(image, height, width, interpolation)))
        pixels[index] = array.reshape(height, width, in_chans).permute(2, 0, 1)
    return Images(pixels, labels)


def held_alike(
    splits: tuple[Split, Split], found: DataInfo | SourceInfo, img_size: tuple[int, int], in_chans: int
) -> tuple[Split, Split]:
    """Both splits in memory where the dataset is held there, else as they are.

    They are cut alike: to the size of the model's input, or to their own where that has fewer pixels.
    """
    if found.storage != "memory":
        return splits
    size = min(img_size, found.img_size, key=lambda size: size[0] * size[1])
    train, test = (decode(split, size, in_chans) for split in splits)
    return train, test


def resize(images: Tensor, img_size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Float images (B, C, H, W) in 0..1 resized to `img_size` without cropping; unchanged where they have it already.

    Args:
        mode: `bilinear` or `bicubic`, which stays within 0..1, as Pillow's does.
    """
    if tuple(images.shape[-2:]) == tuple(img_size):
        return images
    found = functional.interpolate(images, size=tuple(img_size), mode=mode, antialias=True, align_corners=False)
    return found.clamp(0, 1) if mode == "bicubic" else found


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


def cut_to_size(image: Image.Image, height: int, width: int, interpolation: str = "bilinear") -> Image.Image:
    """The image resized to cover the size, and cut in the middle."""
    if (image.height, image.width) == (height, width):
        return image
    scale = max(height / image.height, width / image.width)
    # The covered side of the box is the image's, which the division may exceed by its last digit; Pillow refuses that.
    box_height, box_width = min(height / scale, image.height), min(width / scale, image.width)
    top, left = (image.height - box_height) / 2, (image.width - box_width) / 2
    box = (left, top, left + box_width, top + box_height)
    return image.resize((width, height), Image.Resampling[interpolation.upper()], box=box)
