"""`builtin/digits`: the published counts, a fixed split, mean and std of the training split."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits

from runners.data import SOURCES, describe_dataset
from search_space.schema.resources import Resources
from search_space.schema.trial import ClassificationSpec, DigitsSpec

GOLDEN_LABELS = 293451
GOLDEN_PIXELS = 20012843


def _splits():
    return SOURCES["builtin/digits"].load(DigitsSpec(), Resources(), 0, (8, 8))


def test_facts_are_those_of_the_dataset():
    info = describe_dataset(ClassificationSpec(), Resources())
    assert (info.img_size, info.in_chans, info.num_classes) == ((8, 8), 1, 10)
    assert (info.num_train, info.num_val, info.num_test) == (1438, 0, 359)  # a fifth of 1797 is 359.4


def test_the_two_splits_are_the_whole_dataset():
    train, test = _splits()
    ours = np.concatenate([train.pixels.numpy(), test.pixels.numpy()]).reshape(-1, 64) * 16
    key = lambda rows: sorted(map(tuple, rows.astype(int)))  # noqa: E731
    assert key(ours) == key(load_digits().data)


def test_test_split_is_stratified():
    train, test = _splits()
    whole = torch.bincount(torch.cat([train.labels, test.labels]))
    share = torch.bincount(test.labels) / whole
    assert ((share - 359 / 1797).abs() < 1 / whole).all()


def test_test_split_never_changes():
    """Checksums of the test split as first published; a change would make old and new records incomparable."""
    _, test = _splits()
    weights = torch.arange(1, 360, dtype=torch.float64)
    assert (test.labels.double() * weights).sum().item() == GOLDEN_LABELS
    assert (test.pixels.double().sum((1, 2, 3)) * 16 * weights).sum().item() == GOLDEN_PIXELS


def test_mean_and_std_are_those_of_the_training_split():
    info = describe_dataset(ClassificationSpec(), Resources())
    pixels = _splits()[0].pixels.double().numpy()
    np.testing.assert_allclose([info.mean[0], info.std[0]], [np.mean(pixels), np.std(pixels)], rtol=1e-12)
