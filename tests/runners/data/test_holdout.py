"""Stratified holdout: exact counts, proportional shares, reproducible indices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.data.holdout import stratified_fold, stratified_holdout


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.floats(0, 0.99))
@settings(max_examples=60, deadline=None)
def test_parts_are_complete_disjoint_and_stratified(labels, fraction):
    labels = np.array(labels)
    kept, held = stratified_holdout(labels, fraction, seed=0)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert len(held) == round(len(labels) * fraction)
    for cls in set(labels.tolist()):
        assert abs((labels[held] == cls).sum() - (labels == cls).sum() * fraction) < 1


def test_largest_remainder_gets_the_odd_image():
    # Half of 3 images is 1.5, half of 5 is 2.5, half of all is 4: class 0 gets the image left over.
    labels = np.array([0] * 3 + [1] * 5)
    _, held = stratified_holdout(labels, 0.5, seed=3)
    assert np.bincount(labels[held]).tolist() == [2, 2]


def test_seed_decides_which_images():
    labels = np.zeros(100, dtype=int)
    first, again, other = (stratified_holdout(labels, 0.2, seed=seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_held_out_images_are_those_of_the_frozen_stream():
    # RandomState(1).permutation(8) is 7 2 1 6 0 4 3 5 in every version of NumPy.
    kept, held = stratified_holdout(np.zeros(8, dtype=int), 0.375, seed=1)
    assert held.tolist() == [1, 2, 7]
    assert kept.tolist() == [0, 3, 4, 5, 6]


@pytest.mark.parametrize(("folds", "seed"), [(2, 0), (3, 1), (5, 0), (7, 3)])
def test_folds_are_a_partition_with_equal_shares_of_every_class(folds, seed):
    labels = np.repeat([0, 1, 2, 4], [11, 5, 20, 2])
    parts = [stratified_fold(labels, folds, fold, seed=seed) for fold in range(folds)]
    assert sorted(np.concatenate([held for _, held in parts]).tolist()) == list(range(38))
    for kept, held in parts:
        assert sorted([*kept, *held]) == list(range(38))
        assert list(held) == sorted(held)
    for cls in (0, 1, 2, 4):
        in_folds = [int((labels[held] == cls).sum()) for _, held in parts]
        assert max(in_folds) - min(in_folds) <= 1
    assert max(len(held) for _, held in parts) - min(len(held) for _, held in parts) <= 1
