"""Power analysis of the two-sided tests of a table: minimum detectable effect by number of seeds.

With n same-seed differences of standard deviation s around a true difference d, the test statistic follows a noncentral
t distribution with n - 1 degrees of freedom and noncentrality sqrt(n) * d / s (Cohen, "Statistical Power Analysis for
the Behavioral Sciences", 1988, chapter 2). Both tails count. Dunnett's test of k arms has (n - 1) k degrees of freedom.
"""

from __future__ import annotations

import math

from results.stats.t_distributions import dunnett_critical, t_critical, two_sided_power

__all__ = ["ALPHA", "MIN_SEEDS", "POWER", "detectable_effect", "power_of"]

ALPHA = 0.05
POWER = 0.80
MIN_SEEDS = 3  # the tables test with three seeds or more


def power_of(
    effect: float, num_seeds: int, *, alpha: float = ALPHA, num_tests: int = 1, correction: str = "holm"
) -> float:
    """Power of the test for a true difference of `effect` standard deviations of the paired differences.

    Zero for a single seed, which has no test.

    Args:
        num_tests: arms that are compared with the baseline; above 1 the result is the worst case of the correction, in
            which no other arm differs: Holm and Benjamini-Hochberg then test at the level alpha / num_tests.
        correction: as in the sweep's `analysis`.
    """
    if num_seeds < 2:
        return 0.0
    critical, degrees = _test(num_seeds, alpha, num_tests, correction)
    return two_sided_power(math.sqrt(num_seeds) * effect, degrees, critical)


def detectable_effect(
    num_seeds: int, *, alpha: float = ALPHA, power: float = POWER, num_tests: int = 1, correction: str = "holm"
) -> float | None:
    """Minimum detectable effect at the given power, in standard deviations of the paired differences.

    None below 3 seeds, which are not tested. Other arguments as for `power_of`.
    """
    if num_seeds < MIN_SEEDS:
        return None
    critical, degrees = _test(num_seeds, alpha, num_tests, correction)
    root = math.sqrt(num_seeds)
    low, high = 0.0, 1.0
    while two_sided_power(root * high, degrees, critical) < power:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        if two_sided_power(root * middle, degrees, critical) < power:
            low = middle
        else:
            high = middle
    return high


def _test(num_seeds: int, alpha: float, num_tests: int, correction: str) -> tuple[float, int]:
    """Critical value and degrees of freedom."""
    if correction == "dunnett":
        degrees = (num_seeds - 1) * num_tests
        return dunnett_critical(alpha, num_tests, degrees), degrees
    level = alpha if correction == "none" else alpha / num_tests
    return t_critical(max(level, _SMALLEST_LEVEL), num_seeds - 1), num_seeds - 1


_SMALLEST_LEVEL = 1e-300
"""Quantiles of smaller levels are infinite in double precision."""
