"""Means, standard deviations and intervals compared with hand computation, closed forms and scipy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.stats.paired import PairedDelta, Summary, paired_delta, summarise

_VALUES = st.floats(-1e6, 1e6, allow_nan=False)


def test_mean_and_standard_deviation_by_hand():
    """(96 + 97 + 99) / 3 = 97.333..; squares 1.7778 + 0.1111 + 2.7778 = 4.6667; / 2 = 2.3333; root 1.527525."""
    summary = summarise([96.0, 97.0, 99.0])
    assert summary is not None
    assert summary.mean == pytest.approx(292 / 3, rel=1e-15)
    assert summary.std == pytest.approx(math.sqrt(7 / 3), rel=1e-14)
    assert summary.num == 3


def test_one_value_has_no_spread():
    assert summarise([97.5]) == Summary(97.5, None, 1)


@pytest.mark.parametrize("num", range(2, 12))
def test_equal_values_have_no_spread(num):
    """The mean of three or of six times 90.1 is not 90.1 in double precision: the spread was 1.7e-14."""
    for value in (90.1, 97.22, 0.1):
        summary = summarise([value] * num)
        assert summary is not None
        assert summary.std == 0.0


def test_a_power_of_two_changes_no_digit_of_the_spread():
    """Squares of 1e-200 are 0 in double precision, and so was the standard deviation."""
    values = [96.25, 97.5, 99.125, 90.0]
    plain, small = summarise(values), summarise([math.ldexp(value, -700) for value in values])
    assert plain is not None
    assert small is not None
    assert small.std == math.ldexp(plain.std or 0.0, -700)


def test_no_values_have_no_summary():
    assert summarise([]) is None


@given(st.lists(_VALUES, min_size=2, max_size=8), st.randoms())
def test_order_changes_no_digit(values, rng):
    shuffled = list(values)
    rng.shuffle(shuffled)
    assert summarise(shuffled) == summarise(values)


def test_interval_of_two_pairs_by_hand():
    """Differences 1 and 3: mean 2, sd sqrt(2), sd / sqrt(2) = 1. With one degree of freedom t is Cauchy, and its
    97.5 % quantile is tan(0.475 pi) = 12.7062: the interval is 2 -+ 12.7062."""
    delta = paired_delta({0: 11.0, 1: 23.0}, {0: 10.0, 1: 20.0})
    assert delta is not None
    half = math.tan(0.475 * math.pi)
    assert (delta.mean, delta.num_pairs) == (2.0, 2)
    assert delta.low == pytest.approx(2 - half, rel=1e-12)
    assert delta.high == pytest.approx(2 + half, rel=1e-12)


def test_interval_of_three_pairs_by_hand():
    """Differences 1, 2, 3: mean 2, sd 1. With two degrees of freedom the quantile of p is a / sqrt(2 p (1 - p)) for
    a = 2 p - 1: 0.95 / sqrt(2 * 0.975 * 0.025) = 4.302653; half width 4.302653 / sqrt(3)."""
    delta = paired_delta({0: 97.0, 1: 99.0, 2: 101.0}, {0: 96.0, 1: 97.0, 2: 98.0})
    assert delta is not None
    half = 0.95 / math.sqrt(2 * 0.975 * 0.025) / math.sqrt(3)
    assert delta.mean == 2.0
    assert delta.low == pytest.approx(2 - half, rel=1e-12)
    assert delta.high == pytest.approx(2 + half, rel=1e-12)


def test_only_shared_seeds_are_compared():
    """Seeds 1 and 2 are shared: 5 - 4 = 1 and 9 - 6 = 3. Seed 0 and seed 3 have no partner."""
    delta = paired_delta({0: 100.0, 1: 5.0, 2: 9.0}, {1: 4.0, 2: 6.0, 3: -50.0})
    assert delta is not None
    assert (delta.mean, delta.num_pairs) == (2.0, 2)


def test_one_pair_has_no_interval():
    assert paired_delta({0: 3.0, 1: 9.0}, {0: 1.0}) == PairedDelta(2.0, None, None, 1, None, (2.0,))


def test_no_shared_seed_no_difference():
    assert paired_delta({0: 3.0}, {1: 1.0}) is None
