"""timm's transforms for a training image, built from `train`, and which of its options need them.

A dataset in memory is augmented as tensors, a batch at a time, wherever that draws from the same distribution as timm's
transforms: flips, crops after padding, random erasing, repeats. All other options change an image as Pillow does, so it
is read one by one by timm's loader. Where a random crop is asked for, its source is the image as it is stored; without
one it is whole, cut to the common size as all images in memory are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from timm.data import create_transform
from torch.utils.data import Dataset
from torchvision import transforms

from runners.data.augmentation.auto_augment import with_black_posterising
from runners.data.augmentation.erasing import WithErasing
from runners.data.dataset_info import DataInfo, Images
from search_space.schema.trial import TrainSpec
from search_space.settings.augmentation_relations import has_random_crop, jitters

__all__ = [
    "PilImages",
    "Splits",
    "Whole",
    "augmentation_in_effect",
    "can_be_bytes",
    "needs_pillow",
    "training_transform",
]


_OF_TIMM = {
    "rrc": ((0.08, 1.0), (3 / 4, 4 / 3)),
    **dict.fromkeys(("rkrc", "rkrr"), ((0.8, 1.0), (0.9, 1 / 0.9))),
}
"""`train_crop_mode` -> timm's `scale` and `ratio` where none are written."""


@dataclass(frozen=True)
class Whole:
    """Images that are not cropped to a part of their area; all have this (height, width)."""

    size: tuple[int, int]


def needs_pillow(train: TrainSpec) -> bool:
    """Whether images in memory have to be augmented one by one."""
    by_its_pixels = train.aa is not None or jitters(train) or train.grayscale_prob or train.gaussian_blur_prob
    is_bilinear = train.train_interpolation in (None, "bilinear")
    return bool(has_random_crop(train) or by_its_pixels or not is_bilinear or train.aug_splits)


def augmentation_in_effect(train: TrainSpec, info: DataInfo) -> dict[str, Any]:
    """Options of augmentation as they take effect where some are not written: those that timm takes for them."""
    found: dict[str, Any] = {"train_interpolation": train.train_interpolation or "bilinear"}
    if not jitters(train):
        found["color_jitter"] = 0.0
    elif not isinstance(train.color_jitter, tuple):
        found["color_jitter"] = (float(train.color_jitter),) * 3
    if (info.storage != "memory" or has_random_crop(train)) and not train.no_aug:
        mode = train.train_crop_mode or "rrc"
        scale, ratio = _OF_TIMM[mode]
        found |= {"train_crop_mode": mode, "scale": train.scale or scale, "ratio": train.ratio or ratio}
    return found


def can_be_bytes(train: TrainSpec) -> bool:
    """Whether an image can be normalised with its whole batch; what is erased afterwards is then drawn before."""
    return not train.aug_splits


def training_transform(
    train: TrainSpec,
    info: DataInfo,
    img_size: tuple[int, int],
    *,
    whole: Whole | None = None,
    to_bytes: bool = False,
) -> Callable[[Image.Image], Any]:
    """timm's transform of a training image (PIL) to the model's input (C, H, W), normalised.

    It draws from the global generators of `random`, `numpy` and `torch`.

    Args:
        img_size: (height, width) of the input.
        whole: None: a random part of the image is cropped out, unless `no_aug` says otherwise.
        to_bytes: whether pixels stay bytes, for `ModelInputs`; where `can_be_bytes`.

    Returns:
        With `aug_splits` a transform to a tuple of so many inputs; with bytes and `reprob`, to pixels and what is to be
        erased of them (`WithErasing`).
    """
    scale, ratio = train.scale, train.ratio
    if whole is not None:  # timm's crop of all of an image
        shape = whole.size[1] / whole.size[0]
        scale, ratio = (1.0, 1.0), (shape, shape)
    create: Any = functools.partial(  # of several types, for its `separate`
        create_transform,
        (info.in_chans, *img_size),
        is_training=True,
        no_aug=train.no_aug,
        train_crop_mode=train.train_crop_mode,
        scale=scale,
        ratio=ratio,
        hflip=train.hflip,
        vflip=train.vflip,
        color_jitter=train.color_jitter,
        color_jitter_prob=train.color_jitter_prob,
        grayscale_prob=train.grayscale_prob,
        gaussian_blur_prob=train.gaussian_blur_prob,
        auto_augment=train.aa,
        interpolation=train.train_interpolation or "bilinear",
        mean=info.mean,
        std=info.std,
        use_prefetcher=to_bytes,  # timm's prefetcher normalises
    )
    erasing: dict[str, Any] = {"re_prob": train.reprob, "re_mode": train.remode, "re_count": train.recount}
    transform: Any
    if train.aug_splits:
        crop, colours, final = create(separate=True, **erasing)
        clean = create(separate=True)[2] if train.resplit else final
        transform = Splits(crop, with_black_posterising(colours), clean, final, number=train.aug_splits)
    elif to_bytes and train.reprob:
        transform = WithErasing(with_black_posterising(create()), train)
    else:
        transform = with_black_posterising(create(**erasing))
    if whole is None or not train.crop_padding:
        return transform
    return transforms.Compose([transforms.RandomCrop(whole.size, padding=train.crop_padding), transform])


class Splits:
    """Splits of an image, as timm's `AugMixDataset` makes them: all have one crop, the first one has its own colours.

    Differs: with `resplit`, timm's loader leaves the first part of a batch whole in its prefetcher, on a GPU, by random
    numbers of the device. Here the first split of every image is made without erasing.
    """

    def __init__(self, crop: Any, colours: Any, clean: Any, final: Any, *, number: int) -> None:
        self._crop, self._colours, self._clean, self._final, self._number = crop, colours, clean, final, number

    def __call__(self, image: Image.Image) -> tuple[Any, ...]:
        cropped = self._crop(image)
        clean = self._clean(cropped)
        return (clean, *(self._final(self._colours(cropped)) for _ in range(self._number - 1)))


class PilImages(Dataset):
    """Images in memory as (PIL image of 8 bits a channel, label)."""

    def __init__(self, images: Images) -> None:
        pixels = images.pixels.cpu()
        if pixels.is_floating_point():
            pixels = (255 * pixels).round().clamp(0, 255)
        array = pixels.byte().permute(0, 2, 3, 1).contiguous().numpy()
        self._pixels: np.ndarray = array[..., 0] if array.shape[-1] == 1 else array
        self._labels = images.labels.tolist()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every image."""
        return self._pixels.shape[1], self._pixels.shape[2]

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self._pixels[index]), self._labels[index]
