"""Metrics of classification from the predictions for a whole split, in %.

balanced_accuracy:  mean recall of the classes that the split has (Brodersen et al., 2010; scikit-learn's, unadjusted).
macro_f1:           mean F1 of the classes that are labelled or predicted (scikit-learn's `f1_score(average="macro")`;
                    Opitz & Burst, 2019, arXiv:1911.03347, who compare it with the F1 of mean precision and recall).
auroc:              area under the ROC curve of a class against the rest, by its probability; mean over the classes
                    that the split has; of two classes, that of class 1 (Fawcett, 2006, Pattern Recognition Letters 27).
ece:                expected calibration error of the top prediction: |accuracy - confidence| of each of 15 bins of
                    equal width, weighted by images (Guo et al., 2017, arXiv:1706.04599, section 2).

An undefined metric is None, never NaN: AUROC of a split of one class. None of them depends on the order of the images,
to the last bit, so that several processes measure what one does. Memory and time grow with N + K, of AUROC with N * K:
no confusion matrix is made, which of 10,000 classes has 800 MB. torchmetrics 1.9 is not used: a class that the split
lacks counts as 0 in its macro recall (if predicted) and in its AUROC, whose float32 probabilities tie near 1.

Shapes: N images, K classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from runners.tasks.metrics.predictions import Predictions
from search_space.schema.metrics import OF_A_CLASS

__all__ = [
    "CLASSIFICATION_METRICS",
    "MOST_CLASSES",
    "ClassificationMetric",
    "class_accuracy",
    "classification_metrics",
    "undefined_because",
]

MOST_CLASSES = 100
"""Classes up to which a record has the accuracy of each."""
_UNFIT = re.compile(r"[,:@*=]|^\s|\s$|^$")
_BINS = 15
_SCORES_AT_ONCE = 2**22


@dataclass(frozen=True)
class ClassificationMetric:
    """How a metric of `search_space/schema/metrics.py` is computed.

    Attributes:
        compute: the value in the metric's unit, or None where it is undefined. It must not depend on the order.
        needs_logits: it is not computed where `Predictions.logits` is None.
    """

    compute: Callable[[Predictions], float | None]
    needs_logits: bool = False


def classification_metrics(predictions: Predictions) -> dict[str, float]:
    """The metrics of the table below that are defined for these predictions, by their names."""
    if not len(predictions.labels):
        return {}
    found = {
        name: metric.compute(predictions)
        for name, metric in CLASSIFICATION_METRICS.items()
        if predictions.logits is not None or not metric.needs_logits
    }
    return {name: value for name, value in found.items() if value is not None}


def class_accuracy(predictions: Predictions, names: Sequence[str]) -> dict[str, float]:
    """`accuracy/CLASS` of every class that the split has: the share of its images that are right, in %.

    Of more than 100 classes there is none. Names that a list of columns could not hold are replaced by numbers.

    Args:
        names: of the classes, by label; empty: numbers.
    """
    if predictions.num_classes > MOST_CLASSES:
        return {}
    right, labelled, _ = _counts(predictions)
    is_fit = len({*names}) == predictions.num_classes and all(map(_is_fit, names))
    shown = names if is_fit else [str(label) for label in range(predictions.num_classes)]
    return {
        f"{OF_A_CLASS}{name}": 100 * float(right[label] / labelled[label])
        for label, name in enumerate(shown)
        if labelled[label]
    }


def _is_fit(name: str) -> bool:
    return name.isprintable() and _UNFIT.search(name) is None


def undefined_because(predictions: Predictions) -> list[str]:
    """Why metrics of the table are left out, a phrase each for the notes of a trial."""
    num = len(predictions.labels)
    if num and predictions.logits is None:
        names = ", ".join(name for name, metric in CLASSIFICATION_METRICS.items() if metric.needs_logits)
        return [f"{names} not measured: {num} images of {predictions.num_classes} classes have too many scores to keep"]
    if num and (predictions.labels == predictions.labels[0]).all():
        return ["auroc undefined: all test images are of one class"]
    return []


def _balanced_accuracy(predictions: Predictions) -> float | None:
    right, labelled, _ = _counts(predictions)
    present = labelled > 0
    return 100 * float(np.mean(right[present] / labelled[present]))


def _macro_f1(predictions: Predictions) -> float | None:
    right, labelled, predicted = _counts(predictions)
    total = labelled + predicted
    return 100 * float(np.mean(2 * right[total > 0] / total[total > 0]))


def _counts(predictions: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images of every class that are right, labelled, predicted; (K,) each."""
    right = predictions.labels[predictions.labels == predictions.predicted]
    chosen = (right, predictions.labels, predictions.predicted)
    of_right, labelled, predicted = (np.bincount(each, minlength=predictions.num_classes) for each in chosen)
    return of_right, labelled, predicted


def _auroc(predictions: Predictions) -> float | None:
    """By ranks: of N scores, those of the n images of a class have the sum of ranks R; then the area is
    (R - n (n + 1) / 2) / (n (N - n)) (Mann & Whitney, 1947), equal scores having their mean rank."""
    logits, labels = predictions.logits, predictions.labels
    assert logits is not None
    num = len(labels)
    counts = np.bincount(labels, minlength=predictions.num_classes)
    classes = np.flatnonzero((counts > 0) & (counts < num))
    if not len(classes):
        return None
    if predictions.num_classes == 2:
        classes = np.array([1])
    width = max(1, _SCORES_AT_ONCE // num)
    normaliser = _log_sum_exp(logits, width)
    areas = []
    for chunk in np.split(classes, range(width, len(classes), width)):
        ranks = _average_ranks(np.exp(logits[:, chunk].astype(np.float64) - normaliser))
        sums = np.where(labels[:, None] == chunk, ranks, 0).sum(axis=0)  # multiples of 1/2, so exact
        positives = counts[chunk].astype(np.float64)
        areas.append((sums - positives * (positives + 1) / 2) / (positives * (num - positives)))
    return 100 * float(np.mean(np.concatenate(areas)))


def _average_ranks(scores: np.ndarray) -> np.ndarray:
    """(N, K) float64, the ranks from 1 in each column; equal scores share their mean rank, and a column with NaN has
    NaN. `scipy.stats.rankdata` gives the same, and takes 0.6 s to import."""
    ranks = np.empty_like(scores)
    for column, values in zip(ranks.T, scores.T, strict=True):
        _, groups, sizes = np.unique(values, return_inverse=True, return_counts=True)
        column[:] = (np.cumsum(sizes) - (sizes - 1) / 2)[groups]
    return np.where(np.isnan(scores).any(axis=0), np.nan, ranks)


def _log_sum_exp(logits: np.ndarray, width: int) -> np.ndarray:
    """(N, 1) float64, a few columns at a time; classes are summed in their order."""
    largest = logits.max(axis=1, keepdims=True).astype(np.float64)
    total = np.zeros_like(largest)
    for start in range(0, logits.shape[1], width):
        total += np.exp(logits[:, start : start + width].astype(np.float64) - largest).sum(axis=1, keepdims=True)
    return largest + np.log(total)


def _ece(predictions: Predictions) -> float | None:
    right = (predictions.labels == predictions.predicted).astype(np.float64)
    # Bins are open below and closed above, so that a confidence of 1 is in the last one.
    bins = np.clip(np.ceil(predictions.confidence * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    order = np.argsort(predictions.confidence)  # sums are rounded alike, whatever the order of the images is
    confidence = np.bincount(bins[order], weights=predictions.confidence[order], minlength=_BINS)
    accuracy = np.bincount(bins, weights=right, minlength=_BINS)
    return 100 * float(np.abs(accuracy - confidence).sum() / len(right))


CLASSIFICATION_METRICS: dict[str, ClassificationMetric] = {
    "balanced_accuracy": ClassificationMetric(_balanced_accuracy),
    "macro_f1": ClassificationMetric(_macro_f1),
    "auroc": ClassificationMetric(_auroc, needs_logits=True),
    "ece": ClassificationMetric(_ece),
}
"""To add a metric: one line here, and its unit and direction in `METRICS` and `ClassificationSpec.metrics`."""
