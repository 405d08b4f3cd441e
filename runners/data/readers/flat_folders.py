"""A flat folder, `NAME/CLASS/image.png` without folders of splits, as a training and a test split drawn from it.

    test_fraction: 0.2      a stratified random fifth is the test split
    folds: 5, fold: 2       the third of five stratified folds is, and the other four are the training split

The draw depends on `split_seed` and on the names of the files alone: the same for all seeds and variants of a sweep and
on every machine. Images that show one thing several times (frames of a video, crops) are not kept together, which the
survey only finds where they are equal in every pixel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from runners.data.holdout import stratified_fold, stratified_holdout
from runners.data.readers.class_folders import class_folders
from runners.data.readers.labelled_images import LabelledImages, Samples
from runners.data.readers.place import Place, problem
from search_space.parsing.errors import SpecError

__all__ = ["open_flat"]


def open_flat(dataset: Any, place: Place) -> tuple[LabelledImages, LabelledImages]:
    """The training and the test split of a dataset with `test_fraction` or `folds`.

    Raises:
        SpecError: it is no folder of class folders, or has too few images.
    """
    hint = "test_fraction and folds draw the test split of a folder NAME/CLASS/image.png; leave them out for other data"
    if place.prefix != "folder" or not (root := Path(str(place.root))).is_dir():
        raise SpecError(problem(dataset, "is no folder of class folders, so that no test split can be drawn", hint))
    contents = class_folders(root)
    if contents.faults:
        raise SpecError(problem(dataset, f"{root} has {fault}", hint) for fault in contents.faults)
    whole = contents.reader()
    labels = np.array([label for _, label in whole.samples], dtype=np.int64)
    if dataset.folds is not None:
        parts = stratified_fold(labels, dataset.folds, dataset.fold, seed=dataset.split_seed)
    else:
        parts = stratified_holdout(labels, dataset.test_fraction, seed=dataset.split_seed)
    if not all(len(part) for part in parts):
        train, test = map(len, parts)
        text = f"{len(labels)} images give {train} for training and {test} for the test"
        raise SpecError(problem(dataset, text, "choose test_fraction or folds so that both have images"))
    train, test = (_part(whole, part) for part in parts)
    return LabelledImages(train, dataset.in_chans), LabelledImages(test, dataset.in_chans)


def _part(whole: Samples, indices: np.ndarray) -> Samples:
    return Samples(whole.root, [whole.samples[at] for at in indices], list(whole.class_to_idx), whole.notes)
