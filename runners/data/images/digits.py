"""`builtin/digits`: scikit-learn's handwritten digits, real images that need no network.

1,797 grey images of 8x8 pixels with 17 levels, 10 classes (Alpaydin and Kaynak, UCI Optical Recognition of
Handwritten Digits, its test part), shipped inside scikit-learn. scikit-learn has no split; ours is a stratified fifth
for testing (359 images; 1,438 train), drawn by `split_seed`, the same for all trials unless a sweep says otherwise.
The dataset is small: a difference of a point or two between variants is a handful of images, so it needs an interval
over several seeds.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from runners.data.dataset_info import DataInfo, Images, SourceInfo
from runners.data.holdout import stratified_holdout
from runners.data.readers.labels import counts_of

__all__ = ["describe", "load", "open_splits"]

TEST_FRACTION = 0.2


@functools.cache
def _table() -> np.ndarray:
    """(1797, 65): the 64 pixels of each image, and its label."""
    spec = importlib.util.find_spec("sklearn")
    file = Path(spec.origin or "").parent / "datasets/data/digits.csv.gz" if spec is not None else Path()
    if file.is_file():  # the same table, without scikit-learn and scipy.stats, which take 1.4 s to import
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits  # a release that keeps it elsewhere

    digits: Any = load_digits()
    return np.column_stack([digits.data, digits.target])


def _splits(dataset: Any) -> tuple[Images, Images]:
    table = _table()
    pixels = torch.from_numpy(table[:, :-1].reshape(-1, 8, 8)).float().div(16).unsqueeze(1)
    labels = table[:, -1].astype(np.int64)
    train, test = stratified_holdout(labels, TEST_FRACTION, seed=dataset.split_seed)
    images = Images(pixels, torch.from_numpy(labels).long())
    return images.subset(torch.from_numpy(train)), images.subset(torch.from_numpy(test))


def describe(dataset: Any, resources: Any, in_memory_bytes: int) -> SourceInfo:
    train, test = _splits(dataset)
    return SourceInfo(
        img_size=(8, 8),
        in_chans=1,
        num_classes=10,
        num_train=len(train),
        num_test=len(test),
        mean=(train.pixels.double().mean().item(),),
        std=(train.pixels.double().std(correction=0).item(),),
        train_counts=counts_of(train.labels.numpy(), 10),
        test_counts=counts_of(test.labels.numpy(), 10),
        class_names=tuple("0123456789"),
    )


def open_splits(dataset: Any, resources: Any) -> tuple[Images, Images]:
    return _splits(dataset)


def load(
    dataset: Any, resources: Any, found: DataInfo | SourceInfo, img_size: tuple[int, int]
) -> tuple[Images, Images]:
    return _splits(dataset)
