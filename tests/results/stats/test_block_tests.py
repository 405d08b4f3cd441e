"""Tests over the blocks of a design: the corrected resampled t of folds, Wilcoxon's signed ranks of other blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from results.plan.comparison import Analysis
from results.stats.blocks import delta_over_folds, mean_over_blocks, sum_of_signed_ranks, wilcoxon_p_value
from results.stats.hypothesis_tests import equivalence_p_value, paired_t_p_value
from results.stats.verdicts import judge
from search_space.schema.metrics import METRICS


def test_three_folds_by_hand():
    """d = 1, 2, 3: mean 2, s = 1. With 100 images to test and 200 to train the variance of the mean is
    (1/3 + 1/2) s^2 = 5/6 instead of 1/3, so t^2 = 4 / (5/6) = 4.8. With 2 degrees of freedom
    p = 1 - sqrt(t^2 / (2 + t^2)) in closed form, and the critical value is 4.302653."""
    delta = delta_over_folds([1.0, 2.0, 3.0], test_per_train=100 / 200, scale=90.0)
    assert delta is not None
    assert (delta.mean, delta.std, delta.num_pairs) == (2.0, 1.0, 3)
    assert delta.error == pytest.approx(math.sqrt(5 / 6), rel=1e-12)
    assert delta.low == pytest.approx(2 - 4.302653 * math.sqrt(5 / 6), abs=1e-5)
    assert delta.high == pytest.approx(2 + 4.302653 * math.sqrt(5 / 6), abs=1e-5)
    assert paired_t_p_value(delta) == pytest.approx(1 - math.sqrt(4.8 / 6.8), rel=1e-9)


def test_equivalence_over_folds_by_hand():
    """Margin 4 from a mean of 2: t = 2 / sqrt(5/6), the one-sided half of the p-value above."""
    delta = delta_over_folds([1.0, 2.0, 3.0], test_per_train=0.5, scale=90.0)
    assert delta is not None
    assert equivalence_p_value(delta, 4.0) == pytest.approx((1 - math.sqrt(4.8 / 6.8)) / 2, rel=1e-9)


def test_folds_without_a_shared_image_are_the_paired_t_test():
    """With n_test / n_train = 0 nothing is corrected: scipy's paired t-test of the same differences."""
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(90, 1, 10), rng.normal(89, 1, 10)
    delta = delta_over_folds(list(ours - theirs), test_per_train=0.0, scale=90.0)
    assert delta is not None
    assert paired_t_p_value(delta) == pytest.approx(stats.ttest_rel(ours, theirs).pvalue, rel=1e-9)


def test_overlapping_folds_make_fewer_false_claims_than_the_paired_t_test():
    """Differences of k folds with the correlation that the test assumes, n_test / (n_train + n_test) = 1/k, and no true
    difference. Then mean / sqrt((1/k + 1/(k - 1)) s^2) is exactly Student's t with k - 1 degrees of freedom: the factor
    cancels the correlation, as (1/k + rho/(1 - rho)) does. 4000 draws: 5 % +- 1.4 % (4 standard errors)."""
    rng = np.random.default_rng(11)
    k, rho = 5, 1 / 5
    draws = math.sqrt(rho) * rng.normal(size=(4000, 1)) + math.sqrt(1 - rho) * rng.normal(size=(4000, k))
    found = [delta_over_folds(list(row), test_per_train=1 / (k - 1), scale=1.0) for row in draws]
    corrected = np.mean([(paired_t_p_value(delta) or 1.0) < 0.05 for delta in found if delta is not None])
    assert corrected == pytest.approx(0.05, abs=0.014)
    assert np.mean(stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05) > 0.12


def test_wilcoxon_needs_six_differences():
    """All of one sign: 2 / 2^6 with six, and with five it could not fall below 2 / 2^5 = 0.0625."""
    assert wilcoxon_p_value([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == 2 / 2**6
    assert wilcoxon_p_value([1.0, 2.0, 3.0, 4.0, 5.0]) is None
    assert wilcoxon_p_value([1.0, 2.0, 3.0, 4.0, 5.0, 0.0]) is None


def test_ranks_are_of_sizes_that_differ_by_more_than_rounding():
    """99.2 - 98.9 and 97.4 - 97.1 are both 0.3 on values near 100; by themselves they are two numbers."""
    one, other = 99.2 - 98.9, 97.4 - 97.1
    assert one != other
    differences = [one, -other, 1.0, 2.0, 3.0, 4.0]
    # Ranks 1.5, -1.5, 3, 4, 5, 6: their sum is 18; as far from 0 are 21 and 18 by two patterns, and -21 and -18 by two.
    assert wilcoxon_p_value(differences, scale=100.0) == 6 / 64
    assert sum_of_signed_ranks(differences, scale=100.0) == 18
    assert wilcoxon_p_value([1.0, -1.0, 1.0, 2.0, 3.0, 4.0], scale=100.0) == wilcoxon_p_value(
        [7.0, -7.0, 7.0, 8.0, 9.0, 10.0]
    )


def test_the_direction_of_a_verdict_is_that_of_the_ranks():
    """Eleven small gains and one large loss: W = 12 of 78, p = 140 / 2^12 = 0.0342 in scipy, and the mean is a loss."""
    delta = mean_over_blocks([*(0.1 + 0.01 * at for at in range(11)), -40.0], scale=90.0)
    assert delta is not None
    assert delta.mean < 0
    for metric, verdict in (("top1", "better"), ("loss", "worse")):
        found = judge({"a": delta}, metric=METRICS[metric], analysis=Analysis())["a"]
        assert (found.p, found.verdict) == (140 / 2**12, verdict)


def test_many_blocks_are_exact():
    """Twenty gains: 2 / 2^20. From 17 blocks on 20,000 random patterns of signs gave 1 / 20,001 at best."""
    assert wilcoxon_p_value([float(size) for size in range(1, 21)]) == 2 / 2**20
    ties = [float(size) for size in (1, 1, 2, 2, 2, -3, 3, 4, -5, 6, 7, 8, 9, -1, 10, 11, 12, 12, -12)]
    ranks = stats.rankdata(np.abs(ties))
    sums = np.zeros(1)
    for rank in ranks:
        sums = np.concatenate([sums + rank, sums - rank])
    assert wilcoxon_p_value(ties) == np.mean(np.abs(sums) >= abs((ranks * np.sign(ties)).sum()))


def test_blocks_of_different_kind_have_a_verdict_from_six_on():
    """Two arms, six datasets: p = 2/64 for the first, doubled by Holm 0.0625: inconclusive; alone it is better."""
    up = mean_over_blocks([0.1, 5.0, 0.3, 2.0, 0.4, 1.0], scale=90.0)
    mixed = mean_over_blocks([1.0, -1.5, 2.0, -2.5, 3.0, -3.5], scale=90.0)
    few = mean_over_blocks([1.0, 2.0, 3.0, 4.0, 5.0], scale=90.0)
    assert up is not None
    assert mixed is not None
    assert few is not None
    assert (up.mean, up.low, up.high, up.std) == (pytest.approx(8.8 / 6), None, None, None)
    alone = judge({"up": up}, metric=METRICS["top1"], analysis=Analysis())
    assert (alone["up"].p, alone["up"].verdict) == (2 / 64, "better")
    both = judge({"up": up, "mixed": mixed}, metric=METRICS["top1"], analysis=Analysis())
    assert (both["up"].p_corrected, both["up"].verdict) == (4 / 64, "inconclusive")
    assert judge({"few": few}, metric=METRICS["top1"], analysis=Analysis()) == {}
