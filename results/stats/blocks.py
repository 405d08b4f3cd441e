"""Differences over the blocks of a design: folds, whose training splits overlap, and blocks of different kind.

Folds, or random splits of one dataset.  The models of k folds are trained on overlapping images, so that their
differences d_1 .. d_k are correlated and the paired t-test claims too much. Nadeau and Bengio (Inference for the
Generalization Error, Machine Learning 52, 2003, section 3) take the correlation as n_test / (n_train + n_test), which
gives the corrected resampled t-test

    t = mean(d) / sqrt((1/k + n_test/n_train) s^2),   s^2 with k - 1, t with k - 1 degrees of freedom

for n_train images to train and n_test to test. d_j is the mean over the seeds of the same-seed differences in fold j.

Blocks of different kind, such as datasets.  The size of a difference means another thing in each, so only signs and
ranks are compared: Wilcoxon's signed-rank test over the blocks (Demsar, Statistical Comparisons of Classifiers over
Multiple Data Sets, JMLR 7, 2006, section 3.1.3). Its p-value is exact, over all assignments of signs to the ranks, with
mean ranks of sizes that are equal up to rounding; blocks without a difference are left out. With n blocks it is at
least 2 / 2^n: 0.0625 with 5, so it needs 6. What it finds has the direction of the sum of signed ranks, which need not
be that of the mean difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from results.stats.paired import ALPHA, PairedDelta, is_rounding, summarise, with_half_width
from results.stats.t_distributions import t_critical

__all__ = ["MIN_BLOCKS_WILCOXON", "delta_over_folds", "mean_over_blocks", "sum_of_signed_ranks", "wilcoxon_p_value"]

MIN_BLOCKS_WILCOXON = 6


def delta_over_folds(
    differences: Sequence[float], *, test_per_train: float, scale: float, alpha: float = ALPHA
) -> PairedDelta | None:
    """Mean of the folds' differences with the interval of the corrected resampled t; None without a fold.

    Args:
        differences: one a fold.
        test_per_train: n_test / n_train.
        scale: size of the compared values.
    """
    kept = tuple(0.0 if is_rounding(each, scale) else each for each in differences)
    found = summarise(kept)
    if found is None:
        return None
    factor = 1 / found.num + test_per_train
    delta = PairedDelta(found.mean, None, None, found.num, found.std, kept, scale, factor)
    return delta if delta.error is None else with_half_width(delta, t_critical(alpha, found.num - 1) * delta.error)


def mean_over_blocks(differences: Sequence[float], *, scale: float) -> PairedDelta | None:
    """Mean of the differences in blocks of different kind: a description, without interval; None without a block."""
    kept = tuple(0.0 if is_rounding(each, scale) else each for each in differences)
    found = summarise(kept)
    if found is None:
        return None
    return PairedDelta(found.mean, None, None, found.num, None, kept, scale, is_of_unlike=True)


def wilcoxon_p_value(differences: Sequence[float], *, scale: float = 0.0) -> float | None:
    """Two-sided exact p-value of Wilcoxon's signed-rank test; None with fewer than 6 differences that are not 0.

    Args:
        scale: size of the compared values, by which sizes of differences are equal up to rounding.
    """
    doubled = [round(2 * rank) for rank in _signed_ranks(differences, scale)]
    if len(doubled) < MIN_BLOCKS_WILCOXON:
        return None
    whole = sum(map(abs, doubled))
    # Number of assignments of signs by the sum of the positive ranks, in whole numbers.
    counts = [1] + [0] * whole
    for rank in map(abs, doubled):
        counts = [count + (counts[total - rank] if total >= rank else 0) for total, count in enumerate(counts)]
    extreme = sum(count for total, count in enumerate(counts) if abs(2 * total - whole) >= abs(sum(doubled)))
    return extreme / 2 ** len(doubled)


def sum_of_signed_ranks(differences: Sequence[float], *, scale: float = 0.0) -> float:
    """Sum of the ranks of the differences, each with its sign; its sign is the direction of the test."""
    return math.fsum(_signed_ranks(differences, scale))


def _signed_ranks(differences: Sequence[float], scale: float) -> list[float]:
    """Ranks of the sizes of the differences that are not 0, with their signs; equal sizes have their mean rank."""
    ordered = sorted((each for each in differences if each), key=abs)
    found: list[float] = []
    start = 0
    for stop in range(1, len(ordered) + 1):
        if stop < len(ordered) and is_rounding(abs(ordered[stop]) - abs(ordered[stop - 1]), scale):
            continue
        rank = (start + 1 + stop) / 2
        found += [math.copysign(rank, each) for each in ordered[start:stop]]
        start = stop
    return found
