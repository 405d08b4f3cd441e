"""Metrics of classification against scikit-learn, and against numbers by hand."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from runners.tasks.metrics.classification import (
    CLASSIFICATION_METRICS,
    MOST_CLASSES,
    class_accuracy,
    classification_metrics,
    undefined_because,
)
from runners.tasks.metrics.predictions import CollectedPredictions, Predictions
from search_space.schema.metrics import METRICS
from search_space.schema.trial import ClassificationSpec


def _of(logits: np.ndarray, labels: np.ndarray, *, most_scores: int = 2**26) -> Predictions:
    collected = CollectedPredictions(logits.shape[1], most_scores=most_scores)
    for some, of_them in zip(torch.tensor(logits).split(7), torch.tensor(labels).split(7), strict=True):
        collected.add(some, some.argmax(dim=1), of_them)
    return collected.of_all_processes(is_shared=False)


def _drawn(num: int = 300, num_classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(num_classes, size=num)
    return (random.normal(size=(num, num_classes)) + 2 * np.eye(num_classes)[labels]).astype(np.float32), labels


def _probabilities(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def test_every_metric_is_defined_and_named_by_the_task():
    assert {*CLASSIFICATION_METRICS} <= {*METRICS} & {*ClassificationSpec.metrics}


@pytest.mark.parametrize("name", CLASSIFICATION_METRICS)
def test_the_order_of_the_images_changes_no_bit(name):
    logits, labels = _drawn()
    order = np.random.default_rng(1).permutation(len(labels))
    assert (
        classification_metrics(_of(logits, labels))[name]
        == classification_metrics(_of(logits[order], labels[order]))[name]
    )


@pytest.mark.parametrize("name", CLASSIFICATION_METRICS)
def test_certain_and_right_predictions_are_the_best(name):
    labels = np.arange(12) % 4
    found = classification_metrics(_of(100 * np.eye(4, dtype=np.float32)[labels], labels))
    assert found[name] == METRICS[name].range[0 if METRICS[name].direction == "minimize" else 1]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", CLASSIFICATION_METRICS)
def test_values_are_within_their_range(name, seed):
    low, high = METRICS[name].range
    logits, labels = _drawn(num=9, num_classes=2 + seed, seed=seed)
    assert low <= classification_metrics(_of(logits, labels))[name] <= high


@pytest.mark.parametrize(("num_classes", "without"), [(5, ()), (5, (4,)), (5, (0, 2)), (40, (3,))])
def test_metrics_are_those_of_scikit_learn(num_classes, without):
    """Of the classes that the labels have; the others are predicted now and then. scikit-learn refuses the AUROC of
    several classes where one is absent, so that it is asked for one class at a time."""
    logits, labels = _drawn(num_classes=num_classes)
    logits, labels = (each[~np.isin(labels, without)] for each in (logits, labels))
    predicted, probabilities = logits.argmax(axis=1), _probabilities(logits)
    assert not without or {*without} & {*predicted.tolist()}
    areas = [roc_auc_score(labels == each, probabilities[:, each]) for each in np.unique(labels)]
    recalls = [(predicted[labels == each] == each).mean() for each in np.unique(labels)]
    found = classification_metrics(_of(logits, labels))
    assert found["balanced_accuracy"] == pytest.approx(100 * np.mean(recalls), rel=1e-12)
    assert found["macro_f1"] == pytest.approx(100 * f1_score(labels, predicted, average="macro"), rel=1e-12)
    assert found["auroc"] == pytest.approx(100 * np.mean(areas), rel=1e-12)
    if not without:
        assert found["balanced_accuracy"] == pytest.approx(100 * balanced_accuracy_score(labels, predicted), rel=1e-12)
        area = roc_auc_score(labels, probabilities, multi_class="ovr")
        assert found["auroc"] == pytest.approx(100 * area, rel=1e-12)


def test_of_two_classes_the_auroc_is_that_of_class_1():
    logits, labels = _drawn(num_classes=2)
    expected = 100 * roc_auc_score(labels, _probabilities(logits)[:, 1])
    assert classification_metrics(_of(logits, labels))["auroc"] == pytest.approx(expected, rel=1e-12)


def test_auroc_separates_large_logits():
    """In float32 the probabilities of class 1 are equal from 17 on; the images of class 1 are above that of class 0."""
    logits = np.array([[0, 20], [0, 21], [0, 22], [0, 30]], np.float32)
    assert classification_metrics(_of(logits, np.array([0, 1, 1, 1])))["auroc"] == 100


def test_calibration_error_by_hand():
    """Confidences 0.9, 0.9, 0.6, 0.4 of which the first and the last are wrong: of the bins (13/15, 14/15],
    (8/15, 9/15] and (5/15, 6/15], |1 - 1.8|, |1 - 0.6| and |0 - 0.4| of 4 images."""
    found = CLASSIFICATION_METRICS["ece"].compute(
        Predictions(np.array([1, 0, 0, 1]), np.array([0, 0, 0, 0]), np.array([0.9, 0.9, 0.6, 0.4]), 3)
    )
    assert found == pytest.approx(100 * (0.8 + 0.4 + 0.4) / 4, rel=1e-12)


@pytest.mark.parametrize("num_classes", [2, 5])
def test_one_class_alone_leaves_auroc_out_and_says_so(num_classes):
    logits, _ = _drawn(num_classes=num_classes)
    predictions = _of(logits, np.ones(len(logits), np.int64))
    found = classification_metrics(predictions)
    assert "auroc" not in found
    assert found["balanced_accuracy"] == pytest.approx(100 * (logits.argmax(axis=1) == 1).mean(), rel=1e-12)
    assert undefined_because(predictions) == ["auroc undefined: all test images are of one class"]


def test_the_accuracy_of_every_class_that_the_split_has():
    """Of the three classes a has 2 of 3 right, c 1 of 1, and b no image."""
    predictions = Predictions(np.array([0, 0, 0, 2]), np.array([0, 0, 1, 2]), np.full(4, 0.5), 3)
    found = class_accuracy(predictions, ("a", "b", "c"))
    assert found == {"accuracy/a": pytest.approx(200 / 3), "accuracy/c": 100}
    recalls = list(found.values())
    assert np.mean(recalls) == pytest.approx(classification_metrics(predictions)["balanced_accuracy"])


@pytest.mark.parametrize(
    "names", [(), ("a", "b"), ("a", "a", "b"), ("a", "b,c", "d"), ("a@ema", "b", "c"), ("\udcff", "b", "c")]
)
def test_classes_without_fit_names_have_numbers(names):
    """Missing, equal, or such as would end a column in a list, name a selection, or not be text."""
    predictions = Predictions(np.arange(3), np.arange(3), np.full(3, 0.5), 3)
    assert list(class_accuracy(predictions, names)) == ["accuracy/0", "accuracy/1", "accuracy/2"]


def test_many_classes_have_no_accuracy_each():
    for num_classes, expected in ((MOST_CLASSES, MOST_CLASSES), (MOST_CLASSES + 1, 0)):
        labels = np.arange(num_classes)
        predictions = Predictions(labels, labels, np.full(num_classes, 0.5), num_classes)
        assert len(class_accuracy(predictions, ())) == expected


def test_no_image_has_no_metric():
    predictions = CollectedPredictions(3).of_all_processes(is_shared=False)
    assert classification_metrics(predictions) == {}
    assert undefined_because(predictions) == []


def test_too_many_scores_leave_out_what_needs_them():
    logits, labels = _drawn()
    predictions = _of(logits, labels, most_scores=300 * 5 - 1)
    assert predictions.logits is None
    whole = classification_metrics(_of(logits, labels, most_scores=300 * 5))
    assert classification_metrics(predictions) == {name: whole[name] for name in whole if name != "auroc"}
    assert undefined_because(predictions) == [
        "auroc not measured: 300 images of 5 classes have too many scores to keep"
    ]


def test_ten_thousand_classes_need_no_confusion_matrix():
    """Which would have 800 MB; the logits of these images have 8."""
    logits, labels = _drawn(num=200, num_classes=10_000)
    predictions = _of(logits, labels)
    tracemalloc.start()
    try:
        found = classification_metrics(predictions)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert {*found} == {*CLASSIFICATION_METRICS}
    assert peak < 250e6
