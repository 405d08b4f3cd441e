"""Futility: arms whose differences make a named effect so unlikely that further seeds would be wasted on them.

An arm is futile at a look where the likelihood of its |t| under the named effect, of either sign, is below a tenth of
that under no difference (`LEAST_RATIO`). With the noncentrality d = effect / SD * sqrt(n), v = n - 1 and
z = d^2 t^2 / (2 (v + t^2)) the ratio is exp(-d^2 / 2) 1F1((v + 1) / 2; 1 / 2; z), as the two halves of the noncentral
t's density add up. The rule is non-binding: the boundaries do not reckon with it, so a claim is as safe where an arm
goes on all the same.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

from results.plan.comparison import Rounds
from results.stats.paired import PairedDelta, has_no_spread

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LEAST_RATIO", "STRONG_RATIO", "futility_bound", "is_futile", "likelihood_ratio", "likelihood_ratios"]

LEAST_RATIO = 0.1
STRONG_RATIO = 0.25
"""For fewer trainings and less power (`futility: strong`)."""
_LARGEST_EFFECT = 1e3  # standard deviations, beyond which nothing changes


def is_futile(delta: PairedDelta, rounds: Rounds) -> bool:
    """Whether an arm with these differences is given up; for an effect in the metric's unit with the standard
    deviation of the differences so far."""
    if rounds.effect is None and rounds.smallest is None:
        return False
    ratio = STRONG_RATIO if rounds.is_strong else LEAST_RATIO
    if has_no_spread(delta) or not delta.error or not delta.std:  # t is 0 or infinite
        return abs(delta.mean) < (rounds.smallest or 0.0) or delta.mean == 0
    t = abs(delta.mean) / delta.error
    if rounds.effect is not None:
        return t < futility_bound(delta.num_pairs, rounds.effect, ratio)
    assert rounds.smallest is not None
    return likelihood_ratio(t, delta.num_pairs, rounds.smallest / delta.std) < ratio


def likelihood_ratio(t: float, num_seeds: int, effect: float) -> float:
    """Likelihood of |t| under the effect, in standard deviations of the differences, over that under none."""
    return float(likelihood_ratios(t, num_seeds, effect))


def likelihood_ratios(t: np.ndarray | float, num_seeds: int, effect: np.ndarray | float) -> np.ndarray:
    """The same, element by element."""
    import numpy as np
    from scipy.special import hyp1f1

    squared, degrees = num_seeds * np.minimum(effect, _LARGEST_EFFECT) ** 2, num_seeds - 1
    z = squared * t**2 / (degrees + t**2) / 2
    # Kummer: 1F1(a; b; z) = exp(z) 1F1(b - a; b; -z), which stays in range.
    return np.exp(z - squared / 2) * hyp1f1(-degrees / 2, 0.5, -z)


@functools.cache
def futility_bound(num_seeds: int, effect: float, least_ratio: float = LEAST_RATIO) -> float:
    """The |t| below which an arm is futile at this number of seeds; 0 where it never is."""
    if likelihood_ratio(0.0, num_seeds, effect) >= least_ratio:
        return 0.0
    low, high = 0.0, 1e6
    if likelihood_ratio(high, num_seeds, effect) < least_ratio:
        return math.inf
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if likelihood_ratio(middle, num_seeds, effect) < least_ratio else (low, middle)
    return high
