"""Holdout of part of a training split, stratified where samples have a class each, the same on every machine.

`numpy.random.RandomState` is used for its frozen stream: the same images are held out on every machine and with every
later version of NumPy, which `Generator` does not promise.
"""

from __future__ import annotations

import numpy as np

from runners.data.dataset_info import DataInfo, SourceInfo
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.task import TaskSpec

__all__ = ["VAL_SEED", "after_holdout", "num_held_out", "random_holdout", "stratified_fold", "stratified_holdout"]

VAL_SEED = 1
"""Seed of every validation split: the same images are held out for all seeds of a sweep and in all sweeps."""


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


def random_holdout(number: int, num_held: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices to keep and `num_held` indices held out, both ascending, where nothing can be stratified by."""
    order = np.random.RandomState(VAL_SEED).permutation(number)
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
