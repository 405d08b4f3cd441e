"""Metrics of text: as the script of GLUE computes them, edge cases included."""

from __future__ import annotations

import numpy as np
import pytest

from runners.tasks.metrics.text import text_metrics
from search_space.schema.text_datasets import GLUE_METRICS

OFFICIAL = {task.lower().replace("-", ""): metrics for task, metrics in GLUE_METRICS.items()}


@pytest.mark.golden("glue_metrics")
def test_metrics_are_those_of_glue(golden):
    assert len(golden.meta["cases"]) >= 12
    for case in golden.meta["cases"]:
        predicted, labels = (np.array(case[name]) for name in ("prediction", "label"))
        expected = {name: value for name, value in case["expected"].items() if name != "score"}
        found = text_metrics(predicted, labels, tuple(expected))
        assert found == pytest.approx({name: 100 * value for name, value in expected.items() if value is not None})
        if case["task"].replace("_", "").replace("-", "") in OFFICIAL:
            assert set(expected) <= set(OFFICIAL[case["task"].replace("_", "").replace("-", "")])


def test_the_order_of_the_texts_changes_no_bit():
    stream = np.random.RandomState(0)
    predicted, labels = stream.randn(2, 1000)
    order = stream.permutation(1000)
    names = ("pearson", "spearman", "mse")
    assert text_metrics(predicted, labels, names) == text_metrics(predicted[order], labels[order], names)


def test_undefined_metrics_are_left_out():
    constant, labels = np.ones(4), np.arange(4.0)
    assert text_metrics(constant, labels, ("pearson", "spearman", "mse")) == {"mse": (1 + 0 + 1 + 4) / 4}
    assert text_metrics(labels[:1], labels[:1], ("pearson", "spearman")) == {}


def test_by_hand():
    """3 of 5 right; of class 1: 2 found of 3, 2 right of 3 predicted, so F1 is 2/3. MSE: (1 + 4) / 2."""
    predicted, labels = np.array([1, 1, 0, 1, 0]), np.array([1, 1, 1, 0, 0])
    found = text_metrics(predicted, labels, ("accuracy", "f1"))
    assert found == pytest.approx({"accuracy": 60.0, "f1": 200 / 3})
    assert text_metrics(np.array([1.0, 2.0]), np.array([2.0, 4.0]), ("mse",)) == {"mse": 2.5}
