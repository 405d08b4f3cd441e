"""p-values and resampling intervals compared with hand computation, closed forms, scipy and statsmodels."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from results.stats.hypothesis_tests import (
    benjamini_hochberg,
    bootstrap_interval,
    holm,
    paired_t_p_value,
    sign_flip_p_value,
    uncorrected,
)
from results.stats.paired import has_no_spread, paired_delta

_P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def _delta(*differences: float):
    delta = paired_delta(dict(enumerate(differences)), dict.fromkeys(range(len(differences)), 0.0))
    assert delta is not None
    return delta


def test_p_value_of_three_pairs_by_hand():
    """Differences 1, 2, 3: t = 2 / (1 / sqrt(3)) = sqrt(12). With two degrees of freedom the two-sided p-value is
    1 - t / sqrt(2 + t^2) = 1 - sqrt(12 / 14)."""
    assert paired_t_p_value(_delta(1.0, 2.0, 3.0)) == pytest.approx(1 - math.sqrt(12 / 14), rel=1e-12)


def test_two_pairs_have_no_p_value():
    assert paired_t_p_value(_delta(1.0, 2.0)) is None


def test_equal_differences_have_no_p_value():
    """99.2 - 98.9 and 97.4 - 97.1 are 0.3 up to rounding: t would be in the trillions with three seeds."""
    delta = paired_delta({0: 99.2, 1: 97.4, 2: 98.3}, {0: 98.9, 1: 97.1, 2: 98.0})
    assert delta is not None
    assert len(set(delta.differences)) > 1
    assert has_no_spread(delta)
    assert paired_t_p_value(delta) is None


@pytest.mark.parametrize(
    ("baseline", "ulps"),
    [((2.3025, 2.2871, 2.2914, 2.3, 2.29), (1, 1, 2, 1, 1)), ((98.89, 97.5, 98.06, 97.22, 98.61), (1, 1, 0, 1, 1))],
)
def test_differences_in_the_last_bit_are_no_differences(baseline, ulps):
    """One or two units in the last place at five seeds gave p = .01: sums in another order are no effect."""
    variant = [value + count * math.ulp(value) for value, count in zip(baseline, ulps, strict=True)]
    assert variant != list(baseline)
    delta = paired_delta(dict(enumerate(variant)), dict(enumerate(baseline)))
    assert delta is not None
    assert (delta.mean, delta.std, delta.low, delta.high) == (0.0, 0.0, 0.0, 0.0)
    assert paired_t_p_value(delta) is None


def test_last_bits_around_a_common_difference_have_no_spread_either():
    """A loss that falls by 1e-6 everywhere, up to the last bit of values near 2.3."""
    base = [2.3025, 2.2871, 2.2914, 2.3, 2.29]
    variant = [value - 1e-6 + count * math.ulp(value) for value, count in zip(base, (0, 2, 1, 0, 3), strict=True)]
    delta = paired_delta(dict(enumerate(variant)), dict(enumerate(base)))
    assert delta is not None
    assert len(set(delta.differences)) > 1
    assert has_no_spread(delta)


def test_small_true_differences_are_tested():
    """1e-9 of a value is a million times its rounding error."""
    base = [90.0, 91.0, 92.0]
    delta = paired_delta({0: 90.0 + 1e-7, 1: 91.0 + 2e-7, 2: 92.0 + 3e-7}, dict(enumerate(base)))
    assert delta is not None
    assert paired_t_p_value(delta) == pytest.approx(1 - math.sqrt(12 / 14), rel=1e-5)


def test_sign_flips_by_hand():
    """All six differences are positive: only the patterns with six equal signs are as extreme, 2 / 64."""
    assert sign_flip_p_value([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == 2 / 64


def test_sign_flips_need_six_seeds():
    """With five the smallest possible p-value is 2 / 32 = 0.0625."""
    assert sign_flip_p_value([1.0, 2.0, 3.0, 4.0, 5.0]) is None


@given(st.lists(st.integers(-9, 9), min_size=6, max_size=9))
def test_sign_flips_count_all_patterns(differences):
    """Integers are summed without rounding, so ties are exact."""
    observed = abs(sum(differences))
    patterns = itertools.product((1, -1), repeat=len(differences))
    sums = [abs(sum(sign * value for sign, value in zip(signs, differences, strict=True))) for signs in patterns]
    assert sign_flip_p_value(differences) == sum(total >= observed for total in sums) / len(sums)


def test_equal_sums_count_as_equal_despite_rounding():
    """0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ in the last digit, but are equally extreme. Six values scaled by 1/10
    have the p-value of the integers."""
    whole = [1, 2, 3, -1, -2, 4]
    assert sign_flip_p_value([value / 10 for value in whole]) == sign_flip_p_value(whole)


def test_many_seeds_are_sampled_reproducibly():
    """20 seeds have a million patterns. scipy's own permutation test as a second implementation."""
    differences = list(np.random.default_rng(3).normal(0.4, 1.0, 20))
    found = sign_flip_p_value(differences)
    assert found == sign_flip_p_value(differences)
    exact = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=40_000, rng=np.random.default_rng(1)
    )
    assert found == pytest.approx(exact.pvalue, abs=0.01)  # four standard errors of 20,000 draws at p = 0.1


def test_the_bootstrap_needs_ten_seeds():
    assert bootstrap_interval([0.1 * value for value in range(9)]) is None


def test_the_bootstrap_is_scipys():
    differences = list(np.random.default_rng(5).normal(1.0, 2.0, 12))
    theirs = stats.bootstrap(
        (differences,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    ours = bootstrap_interval(differences)
    assert ours is not None
    # an end is a quantile of 20,000 draws: its standard error is 0.014 standard deviations of the mean (0.6)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.04)
    assert ours == bootstrap_interval(differences)


def test_holm_by_hand():
    """Sorted 0.01, 0.02, 0.04 of three: 0.01 * 3 = 0.03, 0.02 * 2 = 0.04, max(0.04, 0.04 * 1) = 0.04."""
    assert holm([0.04, 0.01, 0.02], 3) == pytest.approx([0.04, 0.03, 0.04])


def test_benjamini_hochberg_by_hand():
    """Sorted 0.01, 0.02, 0.9: 0.01 * 3 / 1 = 0.03, 0.02 * 3 / 2 = 0.03, 0.9."""
    assert benjamini_hochberg([0.9, 0.01, 0.02], 3) == pytest.approx([0.9, 0.03, 0.03])


def test_at_most_half_of_the_hypotheses_can_be_true():
    """Two arms with two exclusive hypotheses each, so at most two are true: factors min(2, left) = 2, 2, 2, 1 for Holm
    (0.02, 0.04, 0.06, 0.06), 2 / rank for Benjamini and Hochberg (0.02, 0.02, 0.03 and 0.04 / 2, but no less than p:
    from the back 0.02, 0.02, 0.03, 0.04)."""
    p_values = [0.01, 0.02, 0.03, 0.04]
    assert holm(p_values, 4, 2) == pytest.approx([0.02, 0.04, 0.06, 0.06])
    assert benjamini_hochberg(p_values, 4, 2) == pytest.approx([0.02, 0.02, 0.03, 0.04])


@given(_P_VALUES, st.integers(0, 5))
def test_tests_that_were_not_done_count_as_p_one(p_values, others):
    family = [*p_values, *[1.0] * others]
    for correct in (holm, benjamini_hochberg):
        assert correct(p_values, len(family)) == pytest.approx(correct(family, len(family))[: len(p_values)])


def test_no_correction_changes_nothing():
    assert uncorrected([0.3, 0.1], 10) == [0.3, 0.1]
