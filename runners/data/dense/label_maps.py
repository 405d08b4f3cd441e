"""Images with their label maps, read from folders one pair at a time.

    train, test = open_label_maps(name, root, ("train", "val"), rules, in_chans=3)
    image, label_map = train.pair(0)

What can be seen from names is checked when the folders are opened, both splits at once; what is inside the files by
`survey_label_maps` (`label_facts.py`). A pair that cannot be read in a trial is an error that names the file, and no
other pair is taken in its place.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from runners.data.decoding import in_mode
from runners.data.dense.label_map_folders import Pairs, pairs_below
from runners.data.dense.label_values import LabelRules, read_label_map
from runners.data.dense.layouts import LayoutNotFound, find_layout
from runners.data.parts import Part
from runners.data.readers.labelled_images import DECODING_ERRORS, UnreadableImage
from runners.data.readers.split_folders import SplitNotFound, overlapping
from search_space.parsing.errors import Problem, SpecError

__all__ = ["LabelMaps", "open_label_maps"]


class LabelMaps(Dataset):
    """Split of images and label maps with random access.

    Attributes:
        pairs: their files.
        rules: what the stored numbers mean.
        in_chans: 1 or 3 channels of the images.
        split: its name, for messages.
    """

    def __init__(self, pairs: Pairs, rules: LabelRules, *, in_chans: int, split: str) -> None:
        self.pairs = pairs
        self.rules = rules
        self.in_chans = in_chans
        self.split = split

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        return self.pair(index)

    @property
    def names(self) -> Sequence[str]:
        """What image and label map of each pair are both called."""
        return self.pairs.names

    def pair(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Image (8 bits a channel) and the class of every pixel, (H, W) uint8 with `rules.ignore_label`.

        Raises:
            UnreadableImage: one of them cannot be read, or they do not fit together.
        """
        image_path, map_path = self.pairs.images[index], self.pairs.maps[index]
        try:
            with Image.open(image_path) as encoded:
                image = in_mode(encoded, self.in_chans)
        except DECODING_ERRORS as err:
            raise UnreadableImage(f"{image_path}: {err}") from err
        try:
            with open(map_path, "rb") as stream:
                stored = read_label_map(stream)
        except DECODING_ERRORS as err:
            raise UnreadableImage(f"{map_path}: {err}") from err
        if stored.shape != (image.height, image.width):
            sizes = f"{stored.shape[0]} x {stored.shape[1]}, its image {image.height} x {image.width} (high x wide)"
            raise UnreadableImage(f"{map_path}: the label map has {sizes}")
        if illegal := self.rules.illegal(np.unique(stored)):
            raise UnreadableImage(f"{map_path}: labels {illegal}; legal are {self.rules.legal}")
        return image, self.rules.classes(stored)

    def parts(self) -> list[Part]:
        """Files of the split, for a fingerprint: all images, then all label maps."""
        halves = (("images", self.pairs.images, self.pairs.image_root), ("maps", self.pairs.maps, self.pairs.map_root))
        return [
            Part(f"{half}/{os.path.relpath(path, root).replace(os.sep, '/')}", "", path)
            for half, paths, root in halves
            for path in paths
        ]


def open_label_maps(
    name: str, root: Path, splits: tuple[str, str], rules: LabelRules, *, in_chans: int
) -> tuple[LabelMaps, LabelMaps]:
    """The training and the test split of the dataset below `root`.

    Args:
        name: of the dataset, for messages.
        splits: names of the two splits.

    Raises:
        SpecError: a folder is missing, the splits are not apart, or files have no partner: all that is found.
    """
    if not root.is_dir():
        raise SpecError(
            _problem(name, f"there is no folder {root}", "put the data there, or change resources.data_dir")
        )
    try:
        layout = find_layout(root)
    except LayoutNotFound as err:
        raise SpecError(_problem(name, str(err), err.hint)) from err
    problems, opened = list[Problem](), list[LabelMaps]()
    for split in splits:
        try:
            pairs = pairs_below(root, layout, split)
        except SplitNotFound as err:
            problems.append(_problem(name, str(err), err.hint))
            continue
        hint = "every image needs a label map of its name, and every label map an image"
        problems += [_problem(name, fault, hint) for fault in pairs.faults]
        opened.append(LabelMaps(pairs, rules, in_chans=in_chans, split=split))
    if len(opened) == 2:
        train, test = (Path(each.pairs.image_root) for each in opened)
        if how := overlapping(train, test):
            message = f"the splits {splits[0]!r} and {splits[1]!r} {how}"
            problems.append(_problem(name, message, "name two folders that are apart"))
    if problems:
        raise SpecError(dict.fromkeys(problems))
    return opened[0], opened[1]


def _problem(name: str, message: str, hint: str) -> Problem:
    return Problem(f"dataset {name!r}: {message}", path="task.dataset", hint=hint)
