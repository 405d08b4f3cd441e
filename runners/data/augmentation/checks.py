"""Check of the augmentation of a training before it begins: what timm reads, and what the data leaves without effect.

Relations that need neither timm nor the data are in `search_space/settings/augmentation_relations.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from runners.data.augmentation.auto_augment import reason_against_aa
from runners.data.augmentation.pipeline import needs_pillow
from runners.data.dataset_info import DataInfo
from search_space.schema.trial import TrainSpec
from search_space.settings.augmentation_relations import has_random_crop, train_option_without_effect
from search_space.settings.broken_relation import BrokenRelation

__all__ = ["augmentation_faults"]

_EXAMPLES = "for example rand-m9-mstd0.5 or original"
_BLUR_SIDE = 12
"""Shortest side that timm's blur takes: its kernel has 23 pixels, and borders are mirrored."""


def augmentation_faults(train: TrainSpec, info: DataInfo, img_size: tuple[int, int] | None) -> Iterator[BrokenRelation]:
    """Relations that the augmentation breaks in the light of the dataset.

    Args:
        img_size: (height, width) of the model's input; None: it cannot be built, which is said elsewhere.
    """
    data, is_held = "task.dataset", info.storage == "memory"
    if train.crop_padding and not is_held:
        yield BrokenRelation(
            "train.crop_padding",
            f"crop_padding works on datasets held in memory, but {info.name!r} is read by timm's loader",
            "timm's loader crops and resizes at random by itself",
            ("train.crop_padding", data),
        )
    if train.no_aug and is_held:
        why = f"{info.name!r} is held in memory, where no augmentation is the default"
        yield train_option_without_effect(train, "no_aug", why, data)
    if train.aug_repeats and info.storage == "stream":
        yield BrokenRelation(
            "train.aug_repeats",
            f"{info.name!r} is a stream, whose images come in their own order and once",
            "leave aug_repeats out, or keep the shards on this machine",
            ("train.aug_repeats", data),
        )
    if train.aa is not None and (reason := reason_against_aa(train.aa, info.in_chans)):
        yield BrokenRelation("train.aa", f"timm cannot read {train.aa!r}: {reason}", _EXAMPLES, ("train.aa", data))
    if img_size is None:
        return
    if train.cutmix_minmax is not None and len({int(min(img_size) * share) for share in train.cutmix_minmax}) == 1:
        low, high = train.cutmix_minmax
        message = f"CutMix boxes between {low:g} and {high:g} of {min(img_size)} pixels have one size in pixels"
        paths = ("train.cutmix_minmax", "arch.img_size", "arch.model", data)
        yield BrokenRelation("train.cutmix_minmax", message, "write shares that are further apart", paths)
    if train.gaussian_blur_prob and min(img_size) < _BLUR_SIDE:
        shown = "x".join(map(str, img_size))
        yield BrokenRelation(
            "train.gaussian_blur_prob",
            f"timm's blur needs sides of {_BLUR_SIDE} pixels, but the model's input has {shown}",
            "leave gaussian_blur_prob out, or choose a larger arch.img_size",
            ("train.gaussian_blur_prob", "arch.img_size", "arch.model", data),
        )
    if train.train_interpolation is not None and is_held and not _interpolates(train, info, img_size):
        why = f"images of {info.name!r} have the size of the model's input"
        paths = ("arch.img_size", "arch.model", "train.aa", data)
        yield train_option_without_effect(train, "train_interpolation", why, *paths)


def _interpolates(train: TrainSpec, info: DataInfo, img_size: tuple[int, int]) -> bool:
    resizes = has_random_crop(train) or tuple(img_size) != tuple(info.img_size)
    return resizes or (train.aa is not None and needs_pillow(train))
