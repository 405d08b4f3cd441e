"""Relations between the options of augmentation: those that others leave without effect, ranges, channels.

They need no torch. What timm reads and what the data decides (its storage, its size) is checked by
`runners/data/augmentation/checks.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from search_space.parsing.type_guards import is_tuple
from search_space.schema.task import TaskSpec
from search_space.schema.trial import Setting, TrainSpec
from search_space.settings.broken_relation import BrokenRelation

__all__ = [
    "ANY_AUGMENTATION",
    "augmentation_relations",
    "has_random_crop",
    "jitters",
    "train_option_without_effect",
]

_OF_CROP = ("scale", "ratio", "train_crop_mode")
ANY_AUGMENTATION = (
    *(*_OF_CROP, "hflip", "vflip", "crop_padding", "aa", "color_jitter", "grayscale_prob", "gaussian_blur_prob"),
    "reprob",
)
"""Options that change an image; the others say how."""
_HUE = 0.5
"""Most that timm's jitter takes for the hue: half way round the circle."""


def has_random_crop(train: TrainSpec) -> bool:
    """Whether timm's random crop is asked for; of images that timm's loader reads it is the default."""
    return any(getattr(train, name) is not None for name in _OF_CROP)


def jitters(train: TrainSpec) -> bool:
    """Whether colour jitter changes anything."""
    strength = train.color_jitter
    return any(strength) if isinstance(strength, tuple) else strength > 0


def train_option_without_effect(train: TrainSpec, name: str, why: str, *depends_on: str) -> BrokenRelation:
    """Relation of an option of `train` that is written where it changes nothing."""
    path, value = f"train.{name}", getattr(train, name)
    message = f"{why}, so {name}={_shown(value)} would have no effect"
    return BrokenRelation(path, message, f"leave {name} out", (path, *depends_on))


def augmentation_relations(setting: Setting) -> Iterator[BrokenRelation]:
    """Relations that the augmentation of a setting breaks; those that its task does not have are said elsewhere."""
    task, train = setting.task, setting.train
    yield from _ranges(train)
    yield from _normalisation(setting)
    if "aa" in task.without_effect:
        return
    if train.no_aug:
        yield from _beside_no_aug(train)
        return
    if not train.reprob:
        for name in ("remode", "recount"):
            if _is_written(train, name):
                yield train_option_without_effect(train, name, "without reprob nothing is erased", "train.reprob")
    if train.crop_padding and has_random_crop(train):
        paths = ["train.crop_padding", *(f"train.{name}" for name in _OF_CROP)]
        message = "a random crop of timm takes the place of one after padding, so crop_padding would have no effect"
        yield BrokenRelation("train.crop_padding", message, "set one of the two", tuple(paths))
    if train.aug_repeats == 1:
        why = "an image comes once in an epoch anyway"
        yield train_option_without_effect(train, "aug_repeats", why)
    yield from _colours(task, train)


def _ranges(train: TrainSpec) -> Iterator[BrokenRelation]:
    for name in ("scale", "ratio"):
        value, path = getattr(train, name), f"train.{name}"
        if value is not None and value[0] > value[1]:
            message = f"the smaller number comes first, but got {list(value)}"
            yield BrokenRelation(path, message, f"write {[value[1], value[0]]}", (path,))
        elif name == "scale" and value is not None and value[1] > 1:
            message = f"shares of an image's area are at most 1, but got {list(value)}"
            yield BrokenRelation(path, message, "timm's default is [0.08, 1.0]", (path,))
    strength = train.color_jitter
    if isinstance(strength, tuple) and len(strength) == 4 and strength[3] > _HUE:
        message = f"the hue turns by at most {_HUE} (half of the circle), but got {strength[3]:g}"
        yield BrokenRelation("train.color_jitter", message, "", ("train.color_jitter",))


def _normalisation(setting: Setting) -> Iterator[BrokenRelation]:
    train = setting.train
    for name in ("mean", "std"):
        value, path = getattr(train, name), f"train.{name}"
        if value == "model" and setting.arch.model == "vit" and name not in setting.task.without_effect:
            message = f"'vit' has sizes of its own and no published weights, so it has no {name}"
            yield BrokenRelation(
                path, message, "write numbers, or leave it out for the dataset's", (path, "arch.model")
            )
    if isinstance(train.std, tuple) and min(train.std) <= 0:
        message = f"pixels are divided by std, which must be above 0, but got {list(train.std)}"
        yield BrokenRelation("train.std", message, "", ("train.std",))


def _beside_no_aug(train: TrainSpec) -> Iterator[BrokenRelation]:
    how = ("color_jitter_prob", "remode", "recount")
    for name in (*ANY_AUGMENTATION, *how):
        if _is_written(train, name):
            yield train_option_without_effect(train, name, "no_aug leaves augmentation out", "train.no_aug")
    if train.train_interpolation == "random":
        why = "no_aug resizes as `bilinear` does"
        yield train_option_without_effect(train, "train_interpolation", why, "train.no_aug")


def _colours(task: TaskSpec, train: TrainSpec) -> Iterator[BrokenRelation]:
    strength, path = train.color_jitter, "train.color_jitter"
    if jitters(train) and train.aa is not None and "3a" not in train.aa:
        yield BrokenRelation(
            path,
            f"timm leaves color_jitter out where aa is set, so {_shown(strength)} would have no effect",
            "set one of the two",
            (path, "train.aa"),
        )
    if train.color_jitter_prob is not None and not jitters(train):
        why = "without color_jitter there is no jitter"
        yield train_option_without_effect(train, "color_jitter_prob", why, path)
    if _channels_of(task) != 1:
        return
    why = f"images of {task.dataset.name!r} are grey"
    if train.grayscale_prob:
        yield train_option_without_effect(train, "grayscale_prob", why, "task.dataset")
    if isinstance(strength, tuple) and jitters(train) and not any(strength[:2]):
        yield train_option_without_effect(train, "color_jitter", f"{why}, without saturation and hue", "task.dataset")


def _channels_of(task: TaskSpec) -> int | None:
    """Channels of the images as far as the spec says; None: the data does."""
    if task.dataset.name == "builtin/digits":
        return 1
    return getattr(task.dataset, "in_chans", None)


def _is_written(train: TrainSpec, name: str) -> bool:
    return getattr(train, name) != TrainSpec.model_fields[name].default


def _shown(value: Any) -> str:
    return str(list(value)) if is_tuple(value) else f"{value:g}" if isinstance(value, float) else str(value)
