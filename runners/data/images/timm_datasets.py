"""Datasets by the names of `timm.data.create_dataset`, opened without downloading unless requested.

The libraries answer a missing split, a misspelt name or an unknown label with something else; this file opens the two
splits of every reader (`readers/place.py` lists them) and refuses what would silently be wrong: splits that are one
folder, splits with different classes, labels that are not numbers of classes, a single class.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from runners.data.dataset_info import DataInfo, SourceInfo, Split
from runners.data.decoding import held_alike
from runners.data.images.opening import check_package, is_folder, open_split
from runners.data.readers.flat_folders import open_flat
from runners.data.readers.labels import as_numbers, counts_of, label_faults, raw_labels
from runners.data.readers.place import Place, place_of, problem
from runners.data.readers.sizes import common_size
from runners.data.readers.split_folders import SplitNotFound, overlapping, split_folder
from runners.data.readers.torchvision_sets import part_of
from runners.data.streams.images import common_size_of_stream
from runners.data.streams.sample_stream import SampleStream, UnreadableStream
from search_space.parsing.errors import Problem, SpecError, first_of

__all__ = ["describe", "load", "open_for_survey", "open_splits"]

_MOST_NAMED = 5
_GREY_MEAN, _GREY_STD = (0.449,), (0.226,)
"""ImageNet's mean and standard deviation, averaged over the colours."""


def describe(dataset: Any, resources: Any, in_memory_bytes: int) -> SourceInfo:
    train, test = open_splits(dataset, resources)
    is_stream = isinstance(train, SampleStream)
    num_classes, counts = _classes(dataset, train, test)
    try:
        height, width = common_size_of_stream(train) if is_stream else common_size(train)
    except UnreadableStream as err:
        text = f"the split {dataset.train_split!r} cannot be read: {err}"
        raise SpecError(problem(dataset, text, "check its files, or the connection")) from err
    num_train, num_test = len(train), len(test)  # pyright: ignore[reportArgumentType]
    decoded_bytes = (num_train + num_test) * dataset.in_chans * height * width
    is_small = not is_stream and decoded_bytes <= in_memory_bytes
    return SourceInfo(
        img_size=(height, width),
        in_chans=dataset.in_chans,
        num_classes=num_classes,
        num_train=num_train,
        num_test=num_test,
        mean=tuple(IMAGENET_DEFAULT_MEAN) if dataset.in_chans == 3 else _GREY_MEAN,
        std=tuple(IMAGENET_DEFAULT_STD) if dataset.in_chans == 3 else _GREY_STD,
        storage="stream" if is_stream else "memory" if is_small else "loader",
        train_counts=counts[0],
        test_counts=counts[1],
        class_names=tuple(names) if (names := _class_names(train)) and len(names) == num_classes else (),
    )


def load(dataset: Any, resources: Any, found: DataInfo | SourceInfo, img_size: tuple[int, int]) -> tuple[Split, Split]:
    return held_alike(open_splits(dataset, resources), found, img_size, dataset.in_chans)


def open_for_survey(dataset: Any, resources: Any) -> tuple[Any, Any, tuple[str, ...]]:
    """Both splits, and what a reader would not expect of the place of the data."""
    return *open_splits(dataset, resources), place_of(dataset, resources).notes


def open_splits(dataset: Any, resources: Any) -> tuple[Any, Any]:
    """The training and the test split, undecoded.

    Raises:
        SpecError: they cannot be read, or share images by their names.
    """
    if dataset.train_split == dataset.test_split:
        raise SpecError(
            problem(
                dataset,
                f"train_split and test_split are both {dataset.train_split!r}: training and testing on the same images",
                "name two different splits",
            )
        )
    place = place_of(dataset, resources)
    if dataset.is_flat:
        return open_flat(dataset, place)
    if place.prefix != "wds":  # shards on this machine need no package
        check_package(dataset, place.prefix)
    _check_has_splits(dataset, place)
    _check_different_images(dataset, place)
    problems: list[Problem] = []
    opened: list[Any] = []
    said = set[str]()  # of a dataset that is missing as a whole, once and not for each split
    for split in (dataset.train_split, dataset.test_split):
        try:
            opened.append(open_split(dataset, resources, place, split))
        except SpecError as err:
            found = {each.message.replace(repr(split), ""): each for each in err.problems}
            problems += [each for text, each in found.items() if text not in said]
            said |= found.keys()
    if problems:
        raise SpecError(problems)
    train, test = opened
    _check_one_kind(dataset, train, test)
    _check_different_shards(dataset, train, test)
    _check_same_classes(dataset, train, test)
    return train, test


def _check_different_images(dataset: Any, place: Place) -> None:
    """Refuse splits that are one place, or of which one is inside the other; by content the survey compares them."""
    names, text = (dataset.train_split, dataset.test_split), ""
    try:
        if is_folder(place):
            text = overlapping(*(split_folder(Path(str(place.root)), name) for name in names))
        elif place.prefix == "torch" and len({part_of(place.name, name) for name in names}) == 1:
            text = f"both mean the part {part_of(place.name, names[0])!r}"
    except SplitNotFound:
        pass  # said by the split itself
    if text:
        text = f"the splits {names[0]!r} and {names[1]!r} {text}: training and testing on the same images"
        raise SpecError(problem(dataset, text, "name two different splits with train_split and test_split"))


def _check_one_kind(dataset: Any, train: Any, test: Any) -> None:
    if isinstance(train, SampleStream) != isinstance(test, SampleStream):
        text = "one of its splits is read over a network and the other one from files"
        raise SpecError(problem(dataset, text, "put the shards of both in one place"))


def _check_different_shards(dataset: Any, train: Any, test: Any) -> None:
    ours, theirs = (
        {os.path.realpath(path): name for name, path in getattr(getattr(split, "reader", split), "shard_files", ())}
        for split in (train, test)
    )
    if common := sorted(ours[path] for path in ours.keys() & theirs.keys()):
        names = first_of(common, _MOST_NAMED)
        text = f"the splits {dataset.train_split!r} and {dataset.test_split!r} have shards in common: {names}"
        raise SpecError(problem(dataset, text, "a shard belongs to one split"))


def _check_has_splits(dataset: Any, place: Place) -> None:
    """A folder that has neither of the two splits: one message."""
    names = (dataset.train_split, dataset.test_split)
    if not is_folder(place) or any("[" in name for name in names):
        return
    for name in names:
        try:
            split_folder(Path(str(place.root)), name)
            return
        except SplitNotFound:
            pass
    text = f"{place.root} has no folders for the splits {names[0]!r} and {names[1]!r}"
    hint = (
        "put the images below train/CLASS/ and validation/CLASS/, name the folders with train_split and test_split, "
        "or draw a test split with test_fraction or folds"
    )
    raise SpecError(problem(dataset, f"{text}: training and testing on the same images", hint))


def _classes(dataset: Any, train: Any, test: Any) -> tuple[int, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Number of classes, and images of every class in both splits (empty for streams)."""
    is_stream = isinstance(train, SampleStream)
    labels = [] if is_stream else [raw_labels(train), raw_labels(test)]
    num_classes = dataset.num_classes or _num_classes(train)
    problems = []
    for values, split in zip(labels, dataset.split_names, strict=False):
        if wrong := label_faults(values, num_classes):
            text = f"labels of the split {split!r} are not numbers of classes: {'; '.join(wrong)}"
            hint = "a label is a number from 0 to num_classes - 1"
            if place_of_labels := _columns(train):
                hint += f"; name another column with target_key ({place_of_labels})"
            problems.append(problem(dataset, text, hint))
    if problems:
        raise SpecError(problems)
    if num_classes is None:
        highest = max((int(np.max(values)) for values in labels if len(values)), default=None)
        hint = (
            "write num_classes: N"
            if highest is None
            else f"write num_classes: {highest + 1}, if the labels 0 to " + (f"{highest} are all there are")
        )
        raise SpecError(problem(dataset, "the reader does not report the number of classes", hint))
    if is_stream:
        return num_classes, ((), ())
    in_train, in_test = (counts_of(as_numbers(values), num_classes) for values in labels)
    return num_classes, (in_train, in_test)


def _columns(split: Any) -> str:
    dataset = getattr(getattr(split, "reader", None), "dataset", None)
    return ", ".join(getattr(dataset, "column_names", ()))


def _class_names(split: Any) -> list[str] | None:
    holder = getattr(split, "reader", split)
    class_to_idx = getattr(holder, "class_to_idx", None)
    return sorted(class_to_idx, key=class_to_idx.__getitem__) if class_to_idx else None


def _num_classes(split: Any) -> int | None:
    names = _class_names(split)
    return None if names is None else len(names)


def _check_same_classes(dataset: Any, train: Any, test: Any) -> None:
    ours, theirs = _class_names(train), _class_names(test)
    if ours is not None and theirs is not None and ours != theirs:
        odd = sorted(set(ours) ^ set(theirs))
        raise SpecError(
            problem(
                dataset,
                f"the splits have different classes ({len(ours)} in {dataset.train_split!r}, {len(theirs)} in "
                f"{dataset.test_split!r}); only in one of them: {', '.join(odd[:10])}",
                "both splits need the same class folders",
            )
        )
