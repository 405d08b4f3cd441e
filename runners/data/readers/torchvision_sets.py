"""torchvision's datasets: which part a split name means, and their images one by one.

timm takes every split name but `train` and `training` for the test set, so a misspelt training split trains on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from timm.data import create_dataset

from runners.data.readers.labelled_images import LabelledImages, Samples
from runners.data.readers.split_folders import EVAL_NAMES, TRAIN_NAMES, SplitNotFound
from search_space.parsing.errors import did_you_mean

__all__ = ["open_torchvision", "part_of"]

_HALVES = {"train": TRAIN_NAMES, "test": ("test", *EVAL_NAMES)}
_PARTS: Mapping[str, Mapping[str, Sequence[str]]] = {  # dataset -> part -> its other names
    "imagenet": {"train": TRAIN_NAMES, "val": EVAL_NAMES},
    "places365": {"train-standard": TRAIN_NAMES, "train-challenge": (), "val": EVAL_NAMES},
    "inaturalist": {
        "2021_train": TRAIN_NAMES,
        "2021_valid": EVAL_NAMES,
        **dict.fromkeys(("2021_train_mini", "2017", "2018", "2019"), ()),
    },
}


def part_of(name: str, split: str) -> str:
    """The part of a torchvision dataset that a split name means: `train`, `val`, `2021_valid`, ...

    Raises:
        SplitNotFound: it means none; the message names those there are.
    """
    name = "inaturalist" if name == "inat" else name
    parts = _PARTS.get(name, _HALVES)
    kind, _, version = split.rpartition("/") if name == "inaturalist" else ("", "", split)
    for part, names in parts.items():
        if version == part or version in names:
            return f"{kind}/{part}" if kind else part
    known = sorted({*parts, *(each for names in parts.values() for each in names)})
    raise SplitNotFound(f"torch/{name} has no split {split!r}", did_you_mean(split, known))


def open_torchvision(name: str, root: str, split: str, *, in_chans: int, download: bool) -> Any:
    """A split of torchvision's dataset: as one array where it is one, else images one by one.

    Raises:
        SplitNotFound: the dataset has no such split.
        RuntimeError, OSError, ValueError: torchvision cannot read it.
    """
    part = part_of(name, split)
    options: dict[str, Any] = {"download": True} if download and name != "imagenet" else {}
    found: Any = create_dataset(f"torch/{name}", root=root, split=part, **options)
    if name == "imagenet":  # its class_to_idx has a line for every synonym
        return LabelledImages(Samples(found.split_folder, found.samples, found.wnids), in_chans)
    if name == "places365":
        classes = sorted(found.class_to_idx, key=found.class_to_idx.__getitem__)
        return LabelledImages(Samples(str(root), found.imgs, classes), in_chans)
    if name in ("inat", "inaturalist"):
        return LabelledImages(_inaturalist(found), in_chans)
    return found


def _inaturalist(found: Any) -> Samples:
    """Label of the one target type that the split names (`genus/2021_train`), else of the species."""
    if len(found.target_type) != 1:
        raise ValueError(f"one label for each image is needed, not {', '.join(found.target_type)}")
    kind, folders = found.target_type[0], list(found.all_categories)
    if kind == "full":
        classes, labels = folders, list(range(len(folders)))
    else:
        numbers = found.categories_index[kind]
        classes, labels = sorted(numbers, key=numbers.__getitem__), [each[kind] for each in found.categories_map]
    samples = [(f"{found.root}/{folders[at]}/{name}", labels[at]) for at, name in found.index]
    return Samples(str(found.root), samples, classes)
