"""`check_metric` finds each fault that the contract of metrics names, and passes archsweep's own metrics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from archsweep.testing import check_metric
from runners.tasks.metrics.classification import CLASSIFICATION_METRICS
from search_space.schema.metrics import METRICS, PredictionMetric


def metric(compute: Any, *, name: str = "mine", direction: Any = "maximize", range: Any = (0, 100), **more: Any):
    return PredictionMetric(name, "%", direction, 2, "what it means", range, compute=compute, **more)


def right(predictions):
    return 100 * float(np.mean(predictions.labels == predictions.predicted))


def wrong(predictions):
    return 100 - right(predictions)


def test_a_sound_metric_passes():
    check_metric(metric(right))
    check_metric(metric(wrong, direction="minimize"))
    check_metric(metric(lambda predictions: right(predictions) / 4), best=25.0)


@pytest.mark.parametrize("name", sorted(CLASSIFICATION_METRICS))
def test_our_own_pass(name):
    own, how = METRICS[name], CLASSIFICATION_METRICS[name]
    fields = {"direction": own.direction, "range": own.range, "needs_logits": how.needs_logits}
    check_metric(metric(how.compute, name=name, **fields))


def first_batch(predictions):
    """Only the first 8 images: another answer in another order."""
    return 100 * float(np.mean(predictions.labels[:8] == predictions.predicted[:8]))


def every_class(predictions):
    """ZeroDivisionError where a class has no image."""
    counts = np.bincount(predictions.labels, minlength=predictions.num_classes)
    hits = np.bincount(predictions.labels[predictions.labels == predictions.predicted], minlength=len(counts))
    return 100 * min(int(hit) / int(count) for hit, count in zip(hits, counts, strict=True))


def nan_of_nothing(predictions):
    """NaN where a class has no image."""
    found = predictions.labels == 3
    return right(predictions) if found.any() else math.nan


def share(predictions):
    return right(predictions) / 100


def per_class(predictions):
    return np.array([right(predictions)] * predictions.num_classes)


def of_logits(predictions):
    return 100 * float(np.mean(predictions.logits.argmax(axis=1) == predictions.labels))


def changes(predictions):
    predictions.labels.sort()
    return right(predictions)


def noisy(predictions, generator=np.random.default_rng(0)):
    return float(generator.uniform(0, 100))


def constant(predictions):
    return 100.0


def undefined(predictions):
    return None


@pytest.mark.parametrize(
    ("compute", "sentence"),
    [
        (first_batch, "mine: depends on the order of the images: "),
        (every_class, "mine: raised ZeroDivisionError: division by zero for a split that lacks classes"),
        (
            nan_of_nothing,
            "mine: gave nan for a split that lacks classes: a finite number, or None where it is undefined",
        ),
        (share, "mine: is 1 for predictions that are all right, not 100, the end of its range"),
        (per_class, "mine: gave array("),
        (of_logits, "mine: raised AttributeError: 'NoneType' object has no attribute 'argmax' for predictions without"),
        (changes, "mine: predictions.labels changed by computing it; other metrics read them, too"),
        (noisy, "mine: two calls for random predictions of 64 images of 4 classes give "),
        (constant, "mine: is 100 for predictions that are right, wrong and random: it looks at none of them"),
        (undefined, "mine: is undefined (None) for random predictions of 64 images of 4 classes, so that no variant"),
        (lambda predictions: right(predictions) > 50, "mine: gave False for random predictions of 64 images"),
        (lambda predictions: 2 * right(predictions), "mine: gave 200 for predictions that are all right, which is not"),
        (wrong, "mine: is better for predictions that are all wrong (100) than for predictions that are all right (0)"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_fault_is_named(compute, sentence):
    with pytest.raises(AssertionError) as caught:
        check_metric(metric(compute))
    assert str(caught.value).startswith(sentence)


def test_the_hint_for_logits():
    with pytest.raises(AssertionError, match=r"; set needs_logits=True, or do without predictions\.logits"):
        check_metric(metric(of_logits))
    check_metric(metric(of_logits, needs_logits=True))


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (right, "right: the metric "),
        (metric(right, direction="higher"), "the metric 'mine' has the direction 'higher'; write 'maximize' or"),
        (metric(right, range=(100, 0)), "mine: range is (100, 0): the lowest value, then the highest"),
        (PredictionMetric("mine", "%", "maximize", 2, " ", compute=right), "mine: has no meaning: a phrase for the"),
        (PredictionMetric("mine", "%", "maximize", 2.5, "x", compute=right), "mine: decimals is 2.5, not a whole"),  # pyright: ignore[reportArgumentType]
    ],
    ids=["function", "direction", "range", "meaning", "decimals"],
)
def test_a_wrong_field_is_named(made, sentence):
    with pytest.raises(AssertionError) as caught:
        check_metric(made)
    assert sentence in str(caught.value)
