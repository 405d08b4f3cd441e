"""Metrics of text over a whole split, by scikit-learn and scipy, as the script of GLUE computes them.

In %; undefined ones (the correlation of a constant, or of one text) are left out. Matthews correlation of a constant
prediction is 0 by the convention of scikit-learn. The order of the texts does not matter: they are sorted first, so
that sums are rounded alike whatever the number of processes is.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef

__all__ = ["text_metrics"]


def text_metrics(predicted: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> dict[str, float]:
    """Those of the metrics `accuracy`, `f1`, `mcc`, `pearson`, `spearman` and `mse` that are named and defined.

    Args:
        predicted, labels: (N,), classes as int64 or numbers as float64.
    """
    order = np.lexsort((predicted, labels))
    predicted, labels = predicted[order], labels[order]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of undefined metrics, which are left out
        found = {name: _METRICS[name](predicted, labels) for name in names if name in _METRICS}
    return {name: value for name, value in found.items() if not math.isnan(value)}


def _accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    return 100 * float(np.mean(predicted == labels)) if len(labels) else math.nan


def _f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    return 100 * float(f1_score(labels, predicted, pos_label=1)) if len(labels) else math.nan


def _mcc(predicted: np.ndarray, labels: np.ndarray) -> float:
    return 100 * float(matthews_corrcoef(labels, predicted)) if len(labels) else math.nan


def _pearson(predicted: np.ndarray, labels: np.ndarray) -> float:
    return 100 * _value(pearsonr(predicted, labels)) if _vary(predicted, labels) else math.nan


def _spearman(predicted: np.ndarray, labels: np.ndarray) -> float:
    return 100 * _value(spearmanr(predicted, labels)) if _vary(predicted, labels) else math.nan


def _mse(predicted: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean((predicted - labels) ** 2)) if len(labels) else math.nan


def _value(found: Any) -> float:
    return float(found.statistic)


def _vary(*values: np.ndarray) -> bool:
    return all(len(each) > 1 and float(np.ptp(each)) > 0 for each in values)


_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "mcc": _mcc,
    "pearson": _pearson,
    "spearman": _spearman,
    "mse": _mse,
}
