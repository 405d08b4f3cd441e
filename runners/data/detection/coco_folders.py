"""Split of a folder in the format of COCO, with random access to images and objects.

    train, test = open_coco(name, root, ("train", "val"), in_chans=3)
    train.image(0), train.objects[0]

What the JSON and the names of files say is checked here, both splits at once; whether the images can be decoded by the
survey (`survey/objects.py`). A trial fails on an image that cannot be read, and takes no other in its place.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from torch.utils.data import Dataset

from runners.data.decoding import in_mode
from runners.data.detection.coco_file import CocoFile, read_coco
from runners.data.detection.coco_layouts import CocoPlace, find_split
from runners.data.detection.objects import Objects
from runners.data.parts import Part
from runners.data.readers.labelled_images import DECODING_ERRORS, UnreadableImage
from runners.data.readers.split_folders import SplitNotFound
from search_space.parsing.errors import Problem, SpecError

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
        has_masks: whether every object has a mask.
    """

    def __init__(self, split: str, place: CocoPlace, found: CocoFile, *, in_chans: int) -> None:
        self.split, self.place, self.in_chans = split, place, in_chans
        self.names: Sequence[str] = found.names
        self.paths = [os.path.join(place.images, name) for name in found.names]
        self.objects: Sequence[Objects] = found.objects
        self.categories, self.has_masks = found.categories, found.has_masks
        self.faults, self.notes = [*found.faults, *self._missing()], list(found.notes)

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

    def _missing(self) -> list[str]:
        missing = [path for path in self.paths if not os.path.isfile(path)]
        if not missing:
            return []
        more = f" and {len(missing) - _MOST_NAMED} more" * (len(missing) > _MOST_NAMED)
        named = ", ".join(missing[:_MOST_NAMED]) + more
        return [f"{self.place.annotations.name}: {len(missing)} of {len(self)} images are missing: {named}"]


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
        opened.append(CocoSplit(split, place, _read(place.annotations, skip_empty), in_chans=in_chans))
    if len(opened) == 2 and opened[0].place.annotations == opened[1].place.annotations:
        message = f"the splits {splits[0]!r} and {splits[1]!r} are both {opened[0].place.annotations}"
        problems.append(_problem(name, message, "name two splits"))
    if problems:
        raise SpecError(dict.fromkeys(problems))
    train, test = opened
    if not train.faults and not test.faults and train.categories != test.categories:
        differing = sorted(set(train.categories) ^ set(test.categories)) or ["their order"]
        test.faults.append(
            f"{test.place.annotations.name}: other categories than in {train.place.annotations.name}: "
            f"{', '.join(differing[:_MOST_NAMED])}"
        )
    return train, test


def _read(path: Path, skip_empty: bool) -> CocoFile:
    """The file, parsed once as long as it does not change: describing, checking and loading all need it."""
    stat = path.stat()
    return _parsed(path, stat.st_mtime_ns, stat.st_size, skip_empty)


@functools.lru_cache(maxsize=4)
def _parsed(path: Path, mtime_ns: int, size: int, skip_empty: bool) -> CocoFile:
    return read_coco(path, skip_empty=skip_empty)


def _problem(name: str, message: str, hint: str) -> Problem:
    return Problem(f"dataset {name!r}: {message}", path="task.dataset", hint=hint)
