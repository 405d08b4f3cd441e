"""Noncentral t and Dunnett's distribution against R, closed forms, scipy and published critical values."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

from results.stats.t_distributions import dunnett_critical, dunnett_tail, t_critical, two_sided_power

ORACLE = json.loads((Path(__file__).parents[2] / "golden" / "statistics" / "oracle_open.json").read_text())


@pytest.mark.parametrize("case", ORACLE["detectable"], ids=lambda case: f"{case['n']} seeds, {case['k']} arms")
def test_power_is_that_of_r(case):
    degrees = case["n"] - 1
    critical = t_critical(case["alpha"] / case["k"], degrees)
    root = math.sqrt(case["n"])
    assert two_sided_power(2 * root, degrees, critical) == pytest.approx(case["power_at_2"], abs=1e-10)
    assert two_sided_power(case["mde"] * root, degrees, critical) == pytest.approx(0.8, abs=1e-8)


def test_power_is_a_number_everywhere_and_that_of_scipy():
    """scipy's lower tail is NaN where it is far below 1e-10."""
    random = np.random.default_rng(0)
    for _ in range(60):
        degrees, alpha = int(random.choice([1, 2, 3, 5, 10, 50, 999])), 10 ** random.uniform(-5, -0.7)
        shift, critical = random.uniform(0, 20), t_critical(alpha, degrees)
        below = float(np.nan_to_num(stats.nct.cdf(-critical, degrees, shift)))
        expected = stats.nct.sf(critical, degrees, shift) + below
        assert two_sided_power(shift, degrees, critical) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("alpha", [1e-12, 1e-100, 0.05, 0.9])
def test_power_without_an_effect_is_alpha(alpha):
    """Also for levels so small that 1 - alpha is 1."""
    assert two_sided_power(0.0, 4, t_critical(alpha, 4)) == pytest.approx(alpha, rel=1e-6)


@pytest.mark.parametrize("degrees", [1, 2, 3, 10, 100, 5000])
def test_dunnett_with_one_arm_is_student_s_t(degrees):
    for t in (1e-6, 0.01, 0.5, 2.0, 5.0, 30.0, 1e4):
        # By the incomplete beta function: scipy's t loses digits of a small t with many degrees of freedom.
        below = special.betainc(0.5, degrees / 2, t * t / (degrees + t * t))
        above = special.betainc(degrees / 2, 0.5, degrees / (degrees + t * t))
        p = 1 - below if t < 1 else above
        assert dunnett_tail(t, 1, degrees) == pytest.approx(p, rel=1e-11, abs=1e-250)


@pytest.mark.parametrize(
    ("t", "num_arms", "degrees", "p"),
    [
        (10, 12, 2, 0.033233804003919024),
        (25, 12, 4, 8.231566723115204e-05),
        (24, 9, 9, 1.2384378018137594e-08),
        (5, 12, 4, 0.037911178542349586),
        (20, 12, 20, 1.2068511517676118e-13),
    ],
)
def test_dunnett_of_many_arms_and_few_degrees_of_freedom(t, num_arms, degrees, p):
    """By trapezoids of step 0.004 in log S and 0.02 in z; the first was 4e-10 off."""
    assert dunnett_tail(t, num_arms, degrees) == pytest.approx(p, rel=2e-12)


@pytest.mark.parametrize(
    ("num_arms", "degrees", "critical"),
    [(2, 10, 2.57), (3, 5, 3.29), (3, 12, 2.686), (2, 20, 2.38), (4, 20, 2.65), (9, 20, 2.95)],
)
def test_critical_values_are_those_of_dunnett_s_table(num_arms, degrees, critical):
    """Two-sided, 5 %: Dunnett, New Tables for Multiple Comparisons with a Control (Biometrics 20, 1964)."""
    assert dunnett_critical(0.05, num_arms, degrees) == pytest.approx(critical, abs=0.006)


def test_dunnett_is_between_one_test_and_bonferroni():
    for num_arms, degrees in ((2, 2), (10, 40), (200, 800)):
        single, found = t_critical(0.05, degrees), dunnett_critical(0.05, num_arms, degrees)
        assert single < found < t_critical(0.05 / num_arms, degrees)
        assert dunnett_tail(found, num_arms, degrees) == pytest.approx(0.05, abs=1e-12)
