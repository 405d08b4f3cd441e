"""Variance components of a crossed design, of one source alone, and the gain of comparing at equal seeds.

A crossed design trains one setting with every combination of levels of its sources, once each. The model is that of
random effects: value = mean + one effect of every set of sources at their levels, independent, each with a variance of
its own; that of all sources together is not separate from what is left, and is the residual. From the mean squares of
the analysis of variance, with L_i levels of source i,

    variance of the effect S = sum over T containing S of (-1)^(|T| - |S|) MS_T / product of L_i over i not in S

(Searle, Casella and McCulloch, Variance Components, 1992, chapter 4: balanced data), unbiased, and below 0 where the
effect is small. Intervals are generalised ones (Weerahandi, JASA 88, 1993): SS_T / MS*_T is drawn from a chi-squared
distribution with the degrees of freedom of T, the formula above gives a variance for every draw, and its quantiles are
the ends. For the residual that is the exact chi-squared interval; for shares no closed form exists. Draws have a fixed
seed, so a run has one interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

__all__ = ["Component", "Components", "Gain", "Spread", "crossed_components", "gain_of_pairing", "spread_of"]

_NUM_DRAWS = 20_000
_SEED = 0
_ROUNDING = 1e-12
"""Of the values, below which a difference is rounding."""


@dataclass(frozen=True)
class Component:
    """Variance of one effect, or of several together.

    Attributes:
        sources: of the effect; empty for several.
        variance: unbiased, and so perhaps below 0; of several the sum of those above 0.
        low, high: interval of the variance, not below 0.
        share: of the sum of all variances that are above 0; None where there is none.
    """

    sources: tuple[str, ...]
    variance: float
    low: float
    high: float
    share: float | None
    share_low: float | None
    share_high: float | None


@dataclass(frozen=True)
class Components:
    """Variance components of a crossed design.

    Attributes:
        effects: of every set of sources, the single ones first; the last is that of all, the residual.
        interactions: all but the single ones, together.
        total: sum of the variances above 0: of a training with all these sources at random.
    """

    effects: tuple[Component, ...]
    interactions: Component
    total: float

    @property
    def sources(self) -> tuple[Component, ...]:
        """Of the single sources."""
        return tuple(each for each in self.effects if len(each.sources) == 1)


@dataclass(frozen=True)
class Spread:
    """Variance of values of independent seeds, with its chi-squared interval."""

    num: int
    mean: float
    variance: float
    low: float
    high: float


@dataclass(frozen=True)
class Gain:
    """What comparing at equal seeds gains over comparing as many different ones.

    Attributes:
        num: pairs.
        variances: of the arm and of the baseline.
        variance: of the differences.
        factor: how many times as many different seeds would be needed; None where the differences are all equal.
        low, high: interval of the factor; None with it.
    """

    num: int
    variances: tuple[float, float]
    variance: float
    factor: float | None
    low: float | None
    high: float | None

    @property
    def effective_seeds(self) -> float | None:
        """Different seeds of each arm that would give as precise a difference."""
        return None if self.factor is None else self.num * self.factor


def crossed_components(values: np.ndarray, sources: Sequence[str], *, level: float = 0.95) -> Components:
    """Variance components of a crossed design.

    Args:
        values: one axis of two levels or more for every source.
        level: of the intervals.
    """
    assert values.ndim == len(sources) > 1, "one axis a source, and more than one"
    axes = range(values.ndim)
    sets = [chosen for size in range(1, values.ndim + 1) for chosen in combinations(axes, size)]
    freedom = {chosen: math.prod(values.shape[axis] - 1 for axis in chosen) for chosen in sets}
    squares = _without_rounding({chosen: _sum_of_squares(values, chosen) for chosen in sets}, values)
    found = _variances({chosen: squares[chosen] / freedom[chosen] for chosen in sets}, values.shape)
    random = np.random.default_rng(_SEED)
    drawn = {chosen: squares[chosen] / random.chisquare(freedom[chosen], _NUM_DRAWS) for chosen in sets}
    draws = {chosen: np.maximum(each, 0) for chosen, each in _variances(drawn, values.shape).items()}
    total = sum(max(float(found[chosen]), 0.0) for chosen in sets)
    totals = np.sum(list(draws.values()), axis=0)

    def component(chosen: Sequence[tuple[int, ...]], names: tuple[str, ...]) -> Component:
        drawn_here = np.sum([draws[each] for each in chosen], axis=0)
        low, high = _quantiles(drawn_here, level)
        share, ends = None, (None, None)
        if total > 0:
            share = sum(max(float(found[each]), 0.0) for each in chosen) / total
            ends = _quantiles(drawn_here / np.where(totals > 0, totals, 1), level)
        parts = [float(found[each]) for each in chosen]
        variance = parts[0] if len(parts) == 1 else sum(max(each, 0.0) for each in parts)
        return Component(names, variance, low, high, share, *ends)

    effects = tuple(component([chosen], tuple(sources[axis] for axis in chosen)) for chosen in sets)
    return Components(effects, component([each for each in sets if len(each) > 1], ()), total)


def spread_of(values: Sequence[float], *, level: float = 0.95) -> Spread:
    """Variance of two values or more of independent seeds; the interval takes them as normal."""
    array = np.asarray(values, dtype=float)
    num, variance = len(array), _variance(array)
    low, high = ((num - 1) * variance / quantile for quantile in stats.chi2.ppf(_ends(level)[::-1], num - 1))
    return Spread(num, float(array.mean()), variance, float(low), float(high))


def gain_of_pairing(arm: Sequence[float], baseline: Sequence[float], *, level: float = 0.95) -> Gain:
    """Gain of comparing three pairs or more of equal seeds.

    The factor is (var a + var b) / var (a - b) = (1 + var (a + b) / var (a - b)) / 2. Where both arms vary alike, sum
    and difference are uncorrelated (Pitman 1939), so the ratio has an F interval with n - 1 and n - 1 degrees of
    freedom.
    """
    ours, theirs = np.asarray(arm, dtype=float), np.asarray(baseline, dtype=float)
    num, variances = len(ours), (_variance(ours), _variance(theirs))
    scale = max(float(np.abs(ours).max()), float(np.abs(theirs).max()))
    difference = ours - theirs
    apart = 0.0 if np.ptp(difference) <= _ROUNDING * scale else _variance(difference)
    if not apart:
        return Gain(num, variances, 0.0, None, None, None)
    ratio = _variance(ours + theirs) / apart
    low, high = ((1 + ratio / quantile) / 2 for quantile in stats.f.ppf(_ends(level)[::-1], num - 1, num - 1))
    return Gain(num, variances, apart, sum(variances) / apart, float(low), float(high))


def _variance(values: np.ndarray) -> float:
    return float(values.var(ddof=1))


def _sum_of_squares(values: np.ndarray, chosen: tuple[int, ...]) -> float:
    """Sum of squares of an effect: deviations along its axes of the means over all others."""
    for axis in range(values.ndim):
        mean = values.mean(axis=axis, keepdims=True)
        values = values - mean if axis in chosen else np.broadcast_to(mean, values.shape)
    return float((values**2).sum())


def _without_rounding(squares: Mapping[tuple[int, ...], float], values: np.ndarray) -> dict[tuple[int, ...], float]:
    least = values.size * (_ROUNDING * float(np.abs(values).max())) ** 2
    return {chosen: each if each > least else 0.0 for chosen, each in squares.items()}


def _variances(mean_squares: Mapping[tuple[int, ...], np.ndarray | float], shape: tuple[int, ...]) -> dict:
    """Variance of every effect from the mean squares: what they are expected to be, solved for the variances."""
    found = {}
    for chosen in mean_squares:
        others = math.prod(size for axis, size in enumerate(shape) if axis not in chosen)
        wider = (each for each in mean_squares if set(chosen) <= set(each))
        found[chosen] = sum((-1) ** (len(each) - len(chosen)) * mean_squares[each] for each in wider) / others
    return found


def _ends(level: float) -> tuple[float, float]:
    return (1 - level) / 2, (1 + level) / 2


def _quantiles(drawn: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, _ends(level))
    return float(low), float(high)
