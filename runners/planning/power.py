"""Power analysis of the two-sided paired t-test: minimum detectable effect by number of seeds.

With n same-seed differences of standard deviation s around a true difference d, the test statistic follows a noncentral
t distribution with n - 1 degrees of freedom and noncentrality sqrt(n) * d / s (Cohen, "Statistical Power Analysis for
the Behavioral Sciences", 1988, chapter 2). Both tails count.
"""

from __future__ import annotations

import math

__all__ = ["ALPHA", "MIN_SEEDS", "POWER", "detectable_effect", "power_of"]

ALPHA = 0.05
POWER = 0.80
MIN_SEEDS = 3  # the tables test with three seeds or more


def power_of(effect: float, num_seeds: int, *, alpha: float = ALPHA) -> float:
    """Power of the test for a true difference of `effect` standard deviations of the paired differences."""
    from scipy.special import nctdtr, stdtrit  # here, because the import takes 0.3 s and most commands do not need it

    degrees = num_seeds - 1
    critical = float(stdtrit(degrees, 1 - alpha / 2))
    shift = math.sqrt(num_seeds) * effect
    not_above, below = (_zero_for_nan(nctdtr(degrees, shift, bound)) for bound in (critical, -critical))
    return 1 - not_above + below


def _zero_for_nan(probability: float) -> float:
    """scipy's `nctdtr` gives NaN at some points where the probability is smaller than rounding."""
    return 0.0 if math.isnan(probability) else float(probability)


def detectable_effect(
    num_seeds: int, *, alpha: float = ALPHA, power: float = POWER, num_tests: int = 1
) -> float | None:
    """Minimum detectable effect at the given power, in standard deviations of the paired differences.

    None below 3 seeds, which are not tested.

    Args:
        num_tests: arms that are compared with the baseline; above 1 the result is Holm's worst case, in which the arm
            is tested first, at the level alpha / num_tests.
    """
    if num_seeds < MIN_SEEDS:
        return None
    level = alpha / num_tests
    low, high = 0.0, 1.0
    while power_of(high, num_seeds, alpha=level) < power:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        if power_of(middle, num_seeds, alpha=level) < power:
            low = middle
        else:
            high = middle
    return high
