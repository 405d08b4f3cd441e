"""Split of a folder in the format of COCO, with random access to images and objects.

    train, test = open_coco(name, root, ("train", "val"), in_chans=3)
    train.image(0), train.objects[0]

What the JSON and the names of files say is checked here, both splits at once; whether the images can be decoded by the
survey (`survey/objects.py`). A trial fails on an image that cannot be read, and takes no other in its place.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from runners.data.decoding import in_mode
from runners.data.detection.coco_file import CocoFile, read_coco
from runners.data.detection.coco_images import find_images
from runners.data.detection.coco_layouts import CocoPlace, find_split
from runners.data.detection.objects import Objects
from runners.data.parts import Part
from runners.data.readers.labelled_images import DECODING_ERRORS, UnreadableImage
from runners.data.readers.split_folders import SplitNotFound
from search_space.parsing.errors import Problem, SpecError, first_of

__all__ = ["CocoSplit", "open_coco"]

_MOST_NAMED = 3


class CocoSplit(Dataset):
    """Images and objects of a split.

    Attributes:
        split: its name, for messages.
        place: its files.
        paths: of every image.
        objects: of every image; empty where there are `faults`.
        categories: name of every class.
        faults, notes: why it cannot be used, and what is odd about it, as sentences.
        without_masks: annotations without a mask, by name.
    """

    def __init__(self, split: str, place: CocoPlace, found: CocoFile, *, in_chans: int) -> None:
        self.split, self.place, self.in_chans = split, place, in_chans
        files = find_images(found.names, place.root, place.images)
        self.names: Sequence[str] = files.names
        self.paths: Sequence[str] = files.paths
        self.objects: Sequence[Objects] = found.objects
        self.categories, self.without_masks = found.categories, found.without_masks
        self.faults = [*found.faults, *(f"{place.name}: {text}" for text in files.faults)]
        self.notes = [*found.notes, *(f"{place.name}: {text}" for text in files.notes)]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, Objects]:
        return self.image(index), self.objects[index]

    def image(self, index: int) -> Image.Image:
        """Image of 8 bits a channel.

        Raises:
            UnreadableImage: it cannot be read, or has another size than its annotations say.
        """
        path = self.paths[index]
        try:
            with Image.open(path) as encoded:
                image = in_mode(encoded, self.in_chans)
        except DECODING_ERRORS as err:
            raise UnreadableImage(f"{path}: {err}") from err
        if (image.height, image.width) != self.objects[index].size:
            height, width = self.objects[index].size
            sizes = f"{image.height} x {image.width}, its annotations {height} x {width} (high x wide)"
            raise UnreadableImage(f"{path}: the image has {sizes}")
        return image

    def parts(self) -> list[Part]:
        """Files of the split, for a fingerprint: the annotations, then all images."""
        return [
            Part(self.place.annotations.name, "", str(self.place.annotations)),
            *(Part(f"images/{name}", "", path) for name, path in zip(self.names, self.paths, strict=True)),
        ]


def open_coco(
    name: str, root: Path, splits: tuple[str, str], *, in_chans: int, skip_empty: bool = False
) -> tuple[CocoSplit, CocoSplit]:
    """The training and the test split of the dataset below `root`, with their faults.

    Args:
        name: of the dataset, for messages.
        skip_empty: annotations whose box has no width or no height are left out instead of refused.

    Raises:
        SpecError: a folder or a file of annotations is missing, or both splits are one.
    """
    if not root.is_dir():
        hint = "put the data there, or change resources.data_dir"
        raise SpecError(_problem(name, f"there is no folder {root}", hint))
    problems, opened = list[Problem](), list[CocoSplit]()
    for split in splits:
        try:
            place = find_split(root, split)
        except SplitNotFound as err:
            problems.append(_problem(name, str(err), err.hint))
            continue
        opened.append(CocoSplit(split, place, _read(place, skip_empty), in_chans=in_chans))
    if len(opened) == 2 and opened[0].place.annotations == opened[1].place.annotations:
        message = f"the splits {splits[0]!r} and {splits[1]!r} are both {opened[0].place.annotations}"
        problems.append(_problem(name, message, "name two splits"))
    if problems:
        raise SpecError(dict.fromkeys(problems))
    train, test = opened
    if not train.faults and not test.faults and train.categories != test.categories:
        _match_categories(train, test)
    return train, test


def _match_categories(train: CocoSplit, test: CocoSplit) -> None:
    """Give the objects of the test split the classes of the training split, by the names of the categories.

    Tools that convert one split at a time number the categories as they meet them, and leave out those that they do
    not meet.
    """
    ours, theirs = train.categories, test.categories
    what = f"than in {train.place.name}"
    is_named = len(set(ours)) == len(ours) and len(set(theirs)) == len(theirs)
    if not is_named or not set(theirs) <= set(ours):
        differing = sorted(set(ours) ^ set(theirs)) or ["their order"]
        named = ", ".join(differing[:_MOST_NAMED])
        test.faults.append(f"{test.place.name}: other categories {what}: {named}")
        return
    labels = np.array([ours.index(name) for name in theirs], dtype=np.int64)
    test.objects = [dataclasses.replace(each, labels=labels[each.labels]) for each in test.objects]
    test.categories = ours
    if lacking := [name for name in ours if name not in theirs]:
        named = first_of(lacking, _MOST_NAMED)
        test.notes.append(f"{test.place.name}: {len(lacking)} categories less {what} ({named})")
    if [name for name in ours if name in theirs] != list(theirs):
        test.notes.append(f"{test.place.name}: categories in another order {what}, matched by their names")


def _read(place: CocoPlace, skip_empty: bool) -> CocoFile:
    """The file, parsed once as long as it does not change: describing, checking and loading all need it."""
    stat = place.annotations.stat()
    return _parsed(place, stat.st_mtime_ns, stat.st_size, skip_empty)


@functools.lru_cache(maxsize=4)
def _parsed(place: CocoPlace, mtime_ns: int, size: int, skip_empty: bool) -> CocoFile:
    return read_coco(place.annotations, name=place.name, skip_empty=skip_empty)


def _problem(name: str, message: str, hint: str) -> Problem:
    return Problem(f"dataset {name!r}: {message}", path="task.dataset", hint=hint)
