"""t e-processes against recorded values (closed form and integration), their integral, and Ville's bound."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from results.stats.sequential.anytime import anytime_critical, anytime_p_value, e_value

ORACLE = json.loads((Path(__file__).parents[3] / "golden" / "statistics" / "oracle_open.json").read_text())["e_values"]


def test_recorded_values() -> None:
    for case in ORACLE:
        assert e_value(case["t"], case["n"], case["g"]) == pytest.approx(case["e_closed"], rel=1e-12)
        assert e_value(case["t"], case["n"], case["g"]) == pytest.approx(case["e_by_integration"], rel=1e-6)


def test_mean_of_one_without_an_effect() -> None:
    """What makes it an e-value: its mean over Student's t is 1."""
    for seeds in (3, 5, 12):
        mean, _ = integrate.quad(lambda t, n=seeds: e_value(t, n) * stats.t.pdf(t, n - 1), -np.inf, np.inf)
        assert mean == pytest.approx(1, rel=1e-6)


def test_critical_value_gives_that_evidence() -> None:
    for seeds in (5, 8, 40):
        assert e_value(anytime_critical(seeds, 0.05), seeds) == pytest.approx(20, rel=1e-9)
    assert math.isinf(anytime_critical(3, 0.05))  # at most (1 + 3 g)^(1) = 7
    assert e_value(math.inf, 3) == pytest.approx(7)


def test_looking_after_every_seed_keeps_the_level() -> None:
    number, most, alpha = 20_000, 30, 0.1
    values = np.random.default_rng(6).standard_normal((number, most))
    crossed = np.zeros(number, bool)
    for seeds in range(3, most + 1):
        seen = values[:, :seeds]
        t = seen.mean(axis=1) / seen.std(axis=1, ddof=1) * math.sqrt(seeds)
        crossed |= np.abs(t) >= anytime_critical(seeds, alpha)
    assert 0.02 < crossed.mean() < alpha + 3 * math.sqrt(alpha / number)


def test_p_value() -> None:
    assert anytime_p_value([(5, 0.0)]) == 1.0
    assert anytime_p_value([]) == 1.0
    best = anytime_critical(8, 0.01)
    assert anytime_p_value([(5, 1.0), (8, best), (9, 0.0)]) == pytest.approx(0.01)
