"""Tests that hold whenever one looks: t e-processes.

Under "no difference" the e-value of a t statistic of n differences,

    E_n = (1 + n g)^(-1/2) ((1 + t^2 / v) / (1 + t^2 / (v (1 + n g))))^((v + 1) / 2),    v = n - 1,

is the likelihood ratio of its scale-free data under mean / SD ~ N(0, g) to that under 0, and its maximum over all n
exceeds 1 / alpha with a probability of at most alpha (Lai, Ann. Stat. 4, 1976; Perez-Ortiz, Lardy, de Heide and
Gruenwald, Ann. Stat. 52, 2024). So 1 / max E_n is a p-value at any number of seeds, whatever made one stop.

It is a martingale only beside its own arm's data: a stopping rule that looks at other arms makes its mean exceed 1. The
bound on the maximum holds all the same, so p-values of arms are corrected by Holm, and e-values are never averaged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["PRIOR_VARIANCE", "anytime_critical", "anytime_p_value", "e_value"]

PRIOR_VARIANCE = 2.0
"""g: of the effects 1 to 2 standard deviations, about which studies of up to a dozen seeds can tell anything."""


def e_value(t: float, num_seeds: int, g: float = PRIOR_VARIANCE) -> float:
    """Evidence of n differences against "no difference"; 1 is none."""
    degrees, growth = num_seeds - 1, 1 + num_seeds * g
    squared = t * t / degrees
    ratio = growth if math.isinf(squared) else (1 + squared) / (1 + squared / growth)
    return math.exp(num_seeds / 2 * math.log(ratio) - math.log(growth) / 2)


def anytime_p_value(found: Iterable[tuple[int, float]], g: float = PRIOR_VARIANCE) -> float:
    """1 over the largest e-value so far, at most 1.

    Args:
        found: number of seeds and t statistic of the first so many differences, for every number that allows a test.
    """
    return min(1.0, 1 / max((e_value(t, seeds, g) for seeds, t in found), default=1.0))


def anytime_critical(num_seeds: int, alpha: float, g: float = PRIOR_VARIANCE) -> float:
    """The |t| at which the e-value is 1 / alpha: half width in standard errors of an interval that holds at all
    numbers of seeds at once. Infinite where so few seeds never give that much evidence."""
    degrees, growth = num_seeds - 1, 1 + num_seeds * g
    needed = math.exp(2 / num_seeds * (math.log(growth) / 2 - math.log(alpha)))
    if needed >= growth:
        return math.inf
    return math.sqrt(degrees * (needed - 1) / (1 - needed / growth))
