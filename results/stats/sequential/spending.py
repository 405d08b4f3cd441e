"""Looks at a growing number of seeds, and how much of the level may be spent until each of them.

With the share f = n / n_max of the seeds, alpha(f) is the probability of a false claim that is allowed until then (Lan
and DeMets, Discrete Sequential Boundaries for Clinical Trials, Biometrika 70, 1983):

    obf     2 - 2 Phi(z / sqrt(f)), z the upper alpha / 2 quantile: nearly all is kept for the last look, as by O'Brien
            and Fleming (Biometrics 35, 1979)
    pocock  alpha log(1 + (e - 1) f): nearly even, as by Pocock (Biometrika 64, 1977)
    power   alpha f^2: between the two (Kim and DeMets, Biometrika 74, 1987, who leave the exponent open)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Spending", "level_that_spends", "spent"]

Spending = Literal["obf", "pocock", "power"]

_EXPONENT = 2


def spent(levels: np.ndarray, fraction: float, spending: Spending) -> np.ndarray:
    """Probability of a false claim that each level allows until this share of the seeds; the level itself at 1."""
    import numpy as np
    from scipy.special import ndtr, ndtri  # here, because the import takes 0.3 s and most tables do without

    if spending == "pocock":
        return levels * math.log1p((math.e - 1) * fraction)
    if spending == "power":
        return levels * fraction**_EXPONENT
    return np.minimum(1.0, 2 * ndtr(ndtri(levels / 2) / math.sqrt(fraction)))


def level_that_spends(probability: float, fraction: float, spending: Spending) -> float:
    """The level that allows this probability until this share of the seeds, at most 1: the inverse of `spent`."""
    from scipy.special import ndtr, ndtri

    if spending == "pocock":
        return min(1.0, probability / math.log1p((math.e - 1) * fraction))
    if spending == "power":
        return min(1.0, probability / fraction**_EXPONENT)
    return float(2 * ndtr(ndtri(probability / 2) * math.sqrt(fraction)))
