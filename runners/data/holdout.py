"""Holdout of part of a training split, stratified where samples have a class each, the same on every machine.

It is the same for all seeds of a sweep and in all sweeps, unless the sweep says that a seed decides the splits: then
also the test split is the seed's own, where archsweep draws it.

`numpy.random.RandomState` is used for its frozen stream: the same images are held out on every machine and with every
later version of NumPy, which `Generator` does not promise.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from runners.data.dataset_info import DataInfo, SourceInfo
from runners.data.random_streams import Seed, stream_seed
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.task import TaskSpec
from search_space.settings.paths import value_at

_Task = TypeVar("_Task", bound=TaskSpec)

__all__ = [
    "VAL_SEED",
    "after_holdout",
    "num_held_out",
    "random_holdout",
    "stratified_fold",
    "stratified_holdout",
    "validation_seed",
    "with_own_test_split",
]

VAL_SEED = 1
"""Seed of every validation split that is the same for all seeds."""

_RANDOM_STATES = 2**31  # of legal seeds of a draw


def validation_seed(seed: Seed) -> int:
    """Seed of the validation split of the trial with this seed."""
    if isinstance(seed, int) or not seed.has_own_splits:
        return VAL_SEED
    return stream_seed(seed, "split", "validation") % _RANDOM_STATES


def with_own_test_split(task: _Task, seed: Seed) -> _Task:
    """The task with the test split of the trial with this seed, where it decides the splits and archsweep draws that
    one; else the task itself."""
    dataset = task.dataset
    if isinstance(seed, int) or not seed.has_own_splits or not dataset.draws_test_split:
        return task
    drawn = stream_seed(seed, "split", "test", value_at(dataset, "split_seed")) % _RANDOM_STATES
    return task.model_copy(update={"dataset": dataset.model_copy(update={"split_seed": drawn})})


def num_held_out(num_images: int, fraction: float) -> int:
    """Number of images held out of `num_images` by a fraction."""
    return round(num_images * fraction)


def after_holdout(task: TaskSpec, found: SourceInfo) -> DataInfo:
    """Sizes and counts of a task's data once its validation split is held out of the training split.

    Raises:
        SpecError: the share leaves one of the two empty.
    """
    num_val = num_held_out(found.num_train, task.val_fraction)
    if task.val_fraction and num_val in (0, found.num_train):
        what = "texts" if task.labelled == "texts" else "images"
        share = f"{task.val_fraction} of {found.num_train} training {what}"
        hint = f"write 0 for no validation split, or a share that leaves {what} in both"
        text = f"{share} holds out {num_val}, which leaves a split empty"
        raise SpecError(Problem(text, path="task.val_fraction", hint=hint))
    counts = {"num_train": found.num_train - num_val, "num_val": num_val}
    return DataInfo(name=task.dataset.name, **{**vars(found), **counts})


def random_holdout(number: int, num_held: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices to keep and `num_held` indices held out, both ascending, where nothing can be stratified by."""
    order = np.random.RandomState(seed).permutation(number)
    return np.sort(order[num_held:]), np.sort(order[:num_held])


def stratified_holdout(labels: np.ndarray, fraction: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices to keep and indices held out, both ascending; every class gives its share to within one image."""
    labels = np.asarray(labels)
    classes, counts = np.unique(labels, return_counts=True)
    shares = counts * fraction
    quota = np.floor(shares).astype(int)
    # Largest remainders first, so that the total is exact; equal remainders in the order of the classes.
    missing = num_held_out(len(labels), fraction) - int(quota.sum())
    quota[np.argsort(-(shares - quota), kind="stable")[:missing]] += 1
    random = np.random.RandomState(seed)
    held = [
        random.permutation(np.flatnonzero(labels == cls))[:number] for cls, number in zip(classes, quota, strict=True)
    ]
    held_out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def stratified_fold(labels: np.ndarray, folds: int, fold: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices outside of one of several folds and those in it, both ascending.

    The images of a class, in random order, are dealt out one to a fold, and the next class goes on where it ended: in
    every class, and in all, the sizes of two folds differ by at most one image.
    """
    labels = np.asarray(labels)
    random = np.random.RandomState(seed)
    dealt = [random.permutation(np.flatnonzero(labels == cls)) for cls in np.unique(labels)]
    order = np.concatenate([np.zeros(0, dtype=np.int64), *dealt])
    is_in = np.zeros(len(labels), dtype=bool)
    is_in[order[fold::folds]] = True
    return np.flatnonzero(~is_in), np.flatnonzero(is_in)
