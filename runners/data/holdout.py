"""Stratified holdout of part of a labelled dataset, reproducible across machines and NumPy versions.

`numpy.random.RandomState` is used for its frozen stream: the same images are held out on every machine and with every
later version of NumPy, which `Generator` does not promise.
"""

from __future__ import annotations

import numpy as np

__all__ = ["VAL_SEED", "num_held_out", "stratified_holdout"]

VAL_SEED = 1
"""Seed of every validation split: the same images are held out for all seeds of a sweep and in all sweeps."""


def num_held_out(num_images: int, fraction: float) -> int:
    """Number of images held out of `num_images` by a fraction."""
    return round(num_images * fraction)


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
