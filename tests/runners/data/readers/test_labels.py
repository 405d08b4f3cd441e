"""Labels: numbers of classes, or refused with what they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from runners.data.readers.labels import label_faults


@pytest.mark.parametrize(
    "labels",
    [[0, 1, 2], np.array([0, 2], dtype=np.uint8), np.array([0, 2], dtype=np.int32), [np.int64(0), 2], np.zeros(3, int)],
)
def test_numbers_of_classes_are_labels(labels):
    assert label_faults(labels, 3) == []


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["cat", "dog"], ["2 of 2 are text, the first 'cat'"]),
        ([0, None, 1, None], ["2 of 4 are missing"]),
        ([0.7, 1.2], ["2 of 2 are floating-point numbers, the first 0.7"]),
        (np.array([0.0, 1.0], dtype=np.float32), ["2 of 2 are floating-point numbers, the first 0.0"]),
        ([[0], [1, 2]], ["2 of 2 are lists or other objects, the first [0]"]),
        ([True, False], ["2 of 2 are truth values, the first True"]),
        (np.array([True, False]), ["2 of 2 are truth values, the first True"]),
        ([0, -1, -1], ["2 of 3 are below 0: -1"]),
        ([0, 3, 4, 1], ["2 of 4 are not below num_classes, 3: 3, 4"]),
        ([-100, 7], ["1 of 2 are below 0: -100", "1 of 2 are not below num_classes, 3: 7"]),
        (["1", 1], ["1 of 2 are text, the first '1'"]),
        ([float("nan")], ["1 of 1 are floating-point numbers, the first nan"]),
        (np.zeros((2, 3), int), ["2 of 2 are lists or other objects, the first array([0, 0, 0])"]),
        (list(torch.tensor([0, 1])), ["2 of 2 are lists or other objects, the first tensor(0)"]),
    ],
)
def test_what_is_no_number_of_a_class_is_counted_and_shown(labels, expected):
    assert label_faults(labels, 3) == expected


def test_many_values_are_not_all_shown():
    assert label_faults(list(range(10)), 2) == ["8 of 10 are not below num_classes, 2: 2, 3, 4, 5, 6 and more"]


def test_without_a_number_of_classes_there_is_no_upper_end():
    assert label_faults([0, 10**6], None) == []
