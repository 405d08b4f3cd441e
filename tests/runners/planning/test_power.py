"""Power and detectable differences of a plan against statsmodels, over random plans."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import special, stats
from statsmodels.stats.power import ttest_power

from results.stats.t_distributions import dunnett_critical
from runners.planning.detection.power import detectable_effect, power_of

PLANS = range(25)


def drawn(number: int) -> tuple[int, int, float, float]:
    """Seeds, arms, alpha, power."""
    random = np.random.default_rng([41, number])
    alpha, power = random.choice([0.001, 0.01, 0.05, 0.2]), random.choice([0.5, 0.8, 0.95])
    return int(random.choice([3, 3, 4, 5, 8, 12, 50])), int(random.integers(1, 13)), float(alpha), float(power)


def level_of(alpha: float, arms: int, correction: str) -> float:
    """Worst case: no other arm differs, so that the smallest of K p-values is tested at alpha / K."""
    return alpha if correction == "none" else alpha / arms


@pytest.mark.parametrize("correction", ["bh", "none"])
def test_power_is_that_of_statsmodels(correction):
    for number in PLANS:
        seeds, arms, alpha, _ = drawn(number)
        effect = 0.1 + 0.2 * number
        expected = float(np.nan_to_num(ttest_power(effect, seeds, level_of(alpha, arms, correction))))
        found = power_of(effect, seeds, alpha=alpha, num_tests=arms, correction=correction)
        if expected:  # scipy's lower tail is NaN now and then
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-10)


@pytest.mark.default_run("holm", "none")
@pytest.mark.parametrize("correction", ["holm", "none", "dunnett"])
def test_the_detectable_difference_has_the_power(correction):
    """By integration: T = (Z + shift) / S exceeds c where Z > c S - shift, over the distribution of S."""
    for number in PLANS:
        seeds, arms, alpha, power = drawn(number)
        effect = detectable_effect(seeds, alpha=alpha, power=power, num_tests=arms, correction=correction)
        assert effect is not None
        if correction == "dunnett":
            degrees = (seeds - 1) * arms
            critical = dunnett_critical(alpha, arms, degrees)
        else:
            degrees = seeds - 1
            critical = float(stats.t.isf(level_of(alpha, arms, correction) / 2, degrees))
        assert power_by_integration(effect * math.sqrt(seeds), degrees, critical) == pytest.approx(power, abs=1e-8)


def power_by_integration(shift: float, degrees: int, critical: float) -> float:
    """Gauss and Legendre over the quantiles of S, between the kinks."""
    s = stats.chi(degrees, scale=1 / math.sqrt(degrees))
    ends = sorted([*s.ppf([1e-13, 0.001, 0.05, 0.3, 0.7, 0.95, 0.999, 1 - 1e-13]), shift / critical])
    nodes, weights = np.polynomial.legendre.leggauss(40)
    total = 0.0
    for low, high in itertools.pairwise(ends):
        x, half = (low + high) / 2 + (high - low) / 2 * nodes, (high - low) / 2
        beyond = special.ndtr(shift - critical * x) + special.ndtr(-critical * x - shift)
        total += half * float(weights @ (beyond * s.pdf(x)))
    return total
