"""Metrics of plug-ins, from the predictions of a classifier for a whole split.

A value that is no finite number, and an exception, fail the trial by the name of the metric and the line of the file.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from search_space.parsing.errors import reason_of
from search_space.plugins import contributed
from search_space.plugins.contracts import place_in_plugin

__all__ = ["WrongMetric", "metrics_of_plugins"]


class WrongMetric(Exception):
    """The function of a plug-in's metric raised, or gave no number."""


def metrics_of_plugins(predictions: Any) -> dict[str, float]:
    """The metrics of plug-ins that are defined for these predictions, by their names.

    Args:
        predictions: `labels` and `predicted` (N,), `confidence` (N,), `logits` (N, K) or None, `num_classes`.

    Raises:
        WrongMetric: one raised, or gave no finite number.
    """
    found: dict[str, float] = {}
    for name, metric in contributed("metric").items():
        if metric.needs_logits and predictions.logits is None:
            continue
        try:
            value = metric.compute(predictions)
        except Exception as err:
            place = f" ({line})" if (line := place_in_plugin(err)) else ""
            raise WrongMetric(f"the metric {name!r}: {type(err).__name__}: {reason_of(err)}{place}") from err
        if value is None:
            continue
        is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            raise WrongMetric(f"the metric {name!r} gave {value!r}: a finite number, or None where it is undefined")
        found[name] = float(value)
    return found
