"""Metrics of segmentation against mmsegmentation's evaluator, and against sets over pixels by hand."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import confusion_matrix as oracle

from runners.tasks.metrics.confusion import confusion_matrix, confusion_metrics

NAMES = {"miou": "mIoU", "macc": "mAcc", "pixel_acc": "aAcc"}


@pytest.mark.golden("miou")
def test_metrics_are_those_of_mmsegmentation(golden):
    """Totals over the whole set, image by image. With reduce_zero_label as its reader does it."""
    config, expected = golden.meta["config"], golden.meta["expected"]
    labels = golden.tensors["label"].long()
    if config.get("reduce_zero_label"):
        labels = torch.where((labels == 0) | (labels == 255), 255, labels - 1)
    shape = {"num_classes": config["num_classes"], "ignore_label": config["ignore_index"]}
    pairs = zip(golden.tensors["prediction"], labels, strict=True)
    matrix = sum(confusion_matrix(predicted, label, **shape) for predicted, label in pairs)
    assert matrix.diagonal().tolist() == expected["intersect"]
    assert matrix.sum(dim=1).tolist() == expected["labelled"]
    assert matrix.sum(dim=0).tolist() == expected["predicted"]
    assert confusion_metrics(matrix) == pytest.approx({name: 100 * expected[key] for name, key in NAMES.items()})


def test_rows_are_labels_and_columns_predictions():
    predicted, labels = torch.randint(0, 4, (2, 3, 5, 6)), torch.randint(0, 4, (2, 3, 5, 6))
    matrix = confusion_matrix(predicted, labels, num_classes=4, ignore_label=255)
    assert matrix.dtype == torch.int64
    assert matrix.tolist() == oracle(labels.flatten(), predicted.flatten(), labels=range(4)).tolist()


def test_totals_of_the_set_and_not_means_over_images():
    """Two 2 x 2 images, A all class 0 and right, B with labels 0 0 1 1 and predictions 0 1 1 1: over the set class 0
    has 5 / 6 and class 1 has 2 / 3; the mean over images and classes would be (1 + 1/2 + 2/3) / 3."""
    labels = torch.tensor([[[0, 0], [0, 0]], [[0, 0], [1, 1]]])
    predicted = torch.tensor([[[0, 0], [0, 0]], [[0, 1], [1, 1]]])
    found = confusion_metrics(confusion_matrix(predicted, labels, num_classes=2, ignore_label=255))
    assert found["miou"] == pytest.approx(100 * (5 / 6 + 2 / 3) / 2)


def test_what_is_undefined_is_left_out():
    nothing = torch.zeros(3, 3, dtype=torch.int64)
    assert confusion_metrics(nothing) == {}


def test_counts_beyond_what_float32_can_count():
    """2^24 + 1 is 2^24 in float32."""
    matrix = torch.zeros(2, 2, dtype=torch.int64)
    matrix[0, 0], matrix[0, 1] = 2**24, 1
    matrix[1, 1] = 1
    assert confusion_metrics(matrix)["pixel_acc"] == 100 * (2**24 + 1) / (2**24 + 2)
