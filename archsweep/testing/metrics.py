"""Contract of a metric: a `PredictionMetric` with its function of the predictions for a whole split."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from archsweep.testing.member import expect, refuse_faults
from runners.tasks.metrics.predictions import Predictions
from search_space.parsing.errors import reason_of
from search_space.plugins.contracts import place_in_plugin
from search_space.schema.metrics import PredictionMetric

__all__ = ["check_metric"]

_NUM_CLASSES, _NUM_IMAGES = 4, 64
_SURE = 60.0  # logit of a class whose probability is 1 in double precision
_REL, _ABS = 1e-6, 1e-9  # sums in another order differ by roundings


def check_metric(metric: PredictionMetric, *, best: float | None = None) -> None:
    """Check a metric: it is a number for any predictions or None, none is better than the best one, and neither the
    order of the images nor a second call changes it.

    Args:
        best: its value for a classifier that is always right, and sure of it. Default: the end of `range` in the
            metric's direction, where that is finite.

    Raises:
        AssertionError: a condition does not hold; the message says which.
    """
    name = getattr(metric, "name", None)
    title = name if isinstance(name, str) else repr(metric)
    refuse_faults("metric", metric, title)
    _check_fields(metric, title)
    values: dict[str, float | None] = {}
    for case, predictions in _cases():
        if metric.needs_logits and predictions.logits is None:
            continue
        before = copy.deepcopy(predictions)
        values[case] = _value(metric, predictions, f"for {case}")
        changed = [
            key for key in ("labels", "predicted", "confidence", "logits") if not _same(before, predictions, key)
        ]
        text = f"predictions.{' and predictions.'.join(changed)} changed by computing it; other metrics read them, too"
        expect(not changed, title, text)
        again = _value(metric, predictions, f"for {case}")
        expect(again == values[case], title, f"two calls for {case} give {values[case]!r} and {again!r}")
        order = np.random.default_rng(1).permutation(len(predictions.labels))
        shuffled = _value(metric, _taken(predictions, order), f"for {case} in another order")
        text = f"depends on the order of the images: {values[case]!r}, and {shuffled!r} in another order, for {case}"
        expect(_close(shuffled, values[case]), title, text)
    undefined = values[_RANDOM] is None
    expect(not undefined, title, f"is undefined (None) for {_RANDOM}, so that no variant could be ranked by it")
    _check_best(metric, title, values, best)


def _check_fields(metric: PredictionMetric, title: str) -> None:
    expect(bool(metric.meaning.strip()), title, "has no meaning: a phrase for the captions of tables")
    whole = isinstance(metric.decimals, int) and not isinstance(metric.decimals, bool) and metric.decimals >= 0
    expect(whole, title, f"decimals is {metric.decimals!r}, not a whole number of digits")
    low, high = metric.range
    expect(low < high, title, f"range is {metric.range!r}: the lowest value, then the highest")


def _check_best(metric: PredictionMetric, title: str, values: dict[str, float | None], best: float | None) -> None:
    numbers = {case: value for case, value in values.items() if value is not None and case in _COMPARED}
    alike = len({round(value, 9) for value in numbers.values()}) == 1
    any_ = next(iter(numbers.values()))
    expect(not alike, title, f"is {any_:g} for predictions that are right, wrong and random: it looks at none of them")
    right = numbers.get(_RIGHT)
    expect(right is not None, title, f"is undefined (None) for {_RIGHT}")
    assert right is not None
    sign = 1 if metric.direction == "maximize" else -1
    for case in _COMPARED:
        value = numbers.get(case, right)
        text = f"is better for {case} ({value:g}) than for {_RIGHT} ({right:g}), as it is to {metric.direction}"
        expect(sign * value <= sign * right + _ABS, title, f"{text}: is `direction` the other one?")
    end = metric.range[1] if metric.direction == "maximize" else metric.range[0]
    wanted = best if best is not None else end if math.isfinite(end) else None
    if wanted is not None:
        text = f"is {right:g} for {_RIGHT}, not {wanted:g}"
        hint = "" if best is not None else ", the end of its range; give best= if that is meant"
        expect(math.isclose(right, wanted, rel_tol=_REL, abs_tol=1e-6), title, text + hint)


def _value(metric: PredictionMetric, predictions: Predictions, where: str) -> float | None:
    title: str = metric.name
    try:
        value: Any = metric.compute(predictions)
    except Exception as err:
        place = f" ({found})" if (found := place_in_plugin(err)) else ""
        text = f"raised {type(err).__name__}: {reason_of(err)}{place} {where}"
        hint = "; set needs_logits=True, or do without predictions.logits" if predictions.logits is None else ""
        raise AssertionError(f"{title}: {text}{hint}") from err
    if value is None:
        return None
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    legal = "a finite number, or None where it is undefined"
    expect(bool(is_number and math.isfinite(value)), title, f"gave {value!r} {where}: {legal}")
    low, high = metric.range
    expect(
        bool(low - _ABS <= value <= high + _ABS),
        title,
        f"gave {value:g} {where}, which is not in its range {low:g} to {high:g}",
    )
    return float(value)


_RIGHT = "predictions that are all right"
_WRONG = "predictions that are all wrong"
_RANDOM = f"random predictions of {_NUM_IMAGES} images of {_NUM_CLASSES} classes"
_COMPARED = (_RIGHT, _WRONG, _RANDOM)


def _cases() -> Iterator[tuple[str, Predictions]]:
    """What is predicted, for messages, and the predictions."""
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.arange(_NUM_IMAGES) % _NUM_CLASSES)
    random = generator.normal(size=(_NUM_IMAGES, _NUM_CLASSES))
    yield _RANDOM, _predictions(labels, random)
    yield _RIGHT, _predictions(labels, _SURE * np.eye(_NUM_CLASSES)[labels])
    yield _WRONG, _predictions(labels, _SURE * np.eye(_NUM_CLASSES)[(labels + 1) % _NUM_CLASSES])
    yield "predictions that are all the same class", _predictions(labels, random + _SURE * np.eye(_NUM_CLASSES)[0])
    few = labels % 2
    yield "a split that lacks classes", _predictions(few, random)
    yield "a split of one class", _predictions(np.full(_NUM_IMAGES, 2), random)
    yield "a split of one image", _predictions(labels[:1], random[:1])
    yield "a dataset of two classes", _predictions(few, random[:, :2])
    yield "predictions without logits, which of many classes are not kept", _predictions(labels, random, keep=False)


def _predictions(labels: np.ndarray, logits: np.ndarray, *, keep: bool = True) -> Predictions:
    """Of logits (N, K)."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return Predictions(
        labels=labels.astype(np.int64),
        predicted=logits.argmax(axis=1).astype(np.int64),
        confidence=shares.max(axis=1).astype(np.float64),
        num_classes=logits.shape[1],
        logits=logits.astype(np.float32) if keep else None,
    )


def _taken(predictions: Predictions, order: np.ndarray) -> Predictions:
    return Predictions(
        labels=predictions.labels[order],
        predicted=predictions.predicted[order],
        confidence=predictions.confidence[order],
        num_classes=predictions.num_classes,
        logits=None if predictions.logits is None else predictions.logits[order],
    )


def _same(one: Predictions, other: Predictions, key: str) -> bool:
    a, b = getattr(one, key), getattr(other, key)
    return a is b or np.array_equal(np.asarray(a), np.asarray(b))


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=_REL, abs_tol=_ABS)
