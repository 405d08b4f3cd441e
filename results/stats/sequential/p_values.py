"""Sequential p-values: the smallest level whose boundary the t statistic has crossed at any look so far.

Rejecting where it is at most alpha is the sequential test of the level alpha, since the boundaries fall with a rising
level (Liu and Anderson, On Adaptive Extensions of Group Sequential Trials for Clinical Investigations, JASA 103, 2008).
It never grows with further looks, and is a p-value at each: so Holm's correction holds at every look, under any
dependence of the arms and whichever of them were stopped.

At the first look the boundary is Student's, and the level follows from what it spends; with one look only, p is that
of the t-test. For later ones boundaries are computed for a grid of levels; between two of them the level's normal
quantile is a smooth function of the logarithm of |t|, and interpolated by a cubic: the relative error of p is below
1e-4 (test_boundaries.py, and by another method second_opinion/test_looks.py).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from results.stats.sequential.boundaries import critical_values_of
from results.stats.sequential.spending import Spending, level_that_spends

if TYPE_CHECKING:
    import numpy as np

__all__ = ["sequential_p_value"]

_HIGHEST, _STEP = 6.0, 0.075
"""Normal quantiles of the levels: from 2e-9, the smallest p-value of a later look, to 0.94, above which it is 1."""


def sequential_p_value(found: Mapping[int, float], looks: tuple[int, ...], spending: Spending) -> float:
    """p-value of "no difference" by the looks that were taken.

    Args:
        found: number of seeds -> |t| of the first so many differences, for the looks so far that allow a test.
        looks: all planned numbers of seeds.
    """
    return min((_at_look(t, looks.index(seeds), looks, spending) for seeds, t in found.items()), default=1.0)


def _at_look(t: float, look: int, looks: tuple[int, ...], spending: Spending) -> float:
    import numpy as np
    from scipy.special import ndtr, stdtr

    if look == 0:
        return level_that_spends(float(2 * stdtr(looks[0] - 1, -t)), looks[0] / looks[-1], spending)
    quantiles, critical = _grid(looks, spending)
    edge = critical[:, look]
    if t < edge[0]:
        return 1.0
    usable = int(np.searchsorted(edge, t, side="right"))
    if usable >= len(edge) or not np.isfinite(edge[usable]):
        return float(2 * ndtr(-quantiles[usable - 1]))  # of a level that was crossed: never too small
    first = min(max(0, usable - 2), int(np.isfinite(edge).sum()) - 4)
    near = slice(first, first + 4)
    z = _lagrange(np.log(edge[near]), quantiles[near], float(np.log(t)))
    return float(2 * ndtr(-min(max(z, quantiles[usable - 1]), quantiles[usable])))


def _lagrange(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """Value of the polynomial through the points."""
    total = 0.0
    for i in range(len(x)):
        weight = 1.0
        for j in range(len(x)):
            if j != i:
                weight *= (at - x[j]) / (x[i] - x[j])
        total += weight * float(y[i])
    return total


@functools.cache
def _grid(looks: tuple[int, ...], spending: Spending) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles z, rising, and the critical |t| of the levels 2 Phi(-z) at each look."""
    import numpy as np
    from scipy.special import ndtr

    quantiles = np.arange(_STEP, _HIGHEST + _STEP / 2, _STEP)
    critical = critical_values_of(looks, 2 * ndtr(-quantiles), spending)
    return quantiles, np.maximum.accumulate(critical, axis=0)
