"""Tests at planned looks, and at any number of seeds, by other formulas than those of `results/stats/sequential`.

Boundaries: there the chain of t statistics is followed backwards, from the later look to the earlier one, by
polynomials. Here it is followed forwards. Let c = sum / sqrt(n * sum of squares) of n differences; it is uniform on a
sphere's axis and independent of the sum of squares, so that one further difference, as tan(theta) times the root of
that sum, makes of it

    c' = (sqrt(n) c cos(theta) + sin(theta)) / sqrt(n + 1) = A sin(theta + psi),  density of theta ~ cos(theta)^(n - 1).

The chance that no later look is crossed is a function of c. It has roots where A reaches a boundary: between two such
places it is a spline of the angle whose squared sine is the share of the way, and every integral is one of Gauss's, cut
where its integrand has such a place.

e-values: the likelihood ratio that docs/sequential.md defines, by trapezoids over the logarithm of the standard
deviation and over the effect, which are exact to rounding for such smooth integrands.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import integrate, interpolate, optimize, stats

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
# Nodes of the sine of an angle, which makes roots at the ends of an interval smooth.
_S, _S_WEIGHTS = np.sin(np.pi / 2 * _NODES), np.pi / 2 * np.cos(np.pi / 2 * _NODES) * _WEIGHTS
_ANGLES = np.linspace(0, np.pi / 2, 101)
Function = Callable[[np.ndarray], np.ndarray]


def allowed(alpha: float, fraction: float, spending: str) -> float:
    """What may be spent of the level until this share of the seeds."""
    if spending == "pocock":
        return alpha * math.log(1 + (math.e - 1) * fraction)
    if spending == "power":
        return alpha * fraction * fraction
    return 2 * float(stats.norm.sf(stats.norm.isf(alpha / 2) / math.sqrt(fraction)))


def first_level(t: float, seeds: int, fraction: float, spending: str) -> float:
    """The smallest level whose boundary |t| crosses at the first look: there the chance is Student's."""
    tail = 2 * float(stats.t.sf(t, seeds - 1))
    if spending == "pocock":
        return min(1.0, tail / math.log(1 + (math.e - 1) * fraction))
    if spending == "power":
        return min(1.0, tail / fraction / fraction)
    return 2 * float(stats.norm.sf(math.sqrt(fraction) * stats.norm.isf(tail / 2)))


def crossed(looks: Sequence[int], critical: Sequence[float]) -> float:
    """Chance, without an effect, that |t| exceeds its critical value at one of the looks."""
    bounds = [c / math.sqrt(n - 1 + c * c) if math.isfinite(c) else 1.0 for n, c in zip(looks, critical, strict=True)]
    goes_on, kinks = _one, []
    for number, (earlier, later) in reversed(list(enumerate(itertools.pairwise(looks), start=1))):
        bound = bounds[number]
        for seeds in range(later - 1, earlier - 1, -1):
            goes_on, kinks = _before(goes_on, seeds, bound, kinks)
            bound = math.inf
    # At the first look the density of c ~ (1 - c^2)^((n - 3) / 2), which is cos(x)^(n - 2) with c = sin(x).
    first, end = looks[0], math.asin(bounds[0])
    cuts = sorted({-end, end, *(math.asin(k) * sign for k in kinks if math.asin(k) < end for sign in (-1, 1))})
    stays = sum(
        _gauss(lambda x: goes_on(np.sin(x)) * np.cos(x) ** (first - 2), low, high)
        for low, high in itertools.pairwise(cuts)
    )
    return 1 - stays / _norm(first - 2)


def _one(c: np.ndarray) -> np.ndarray:
    return np.ones_like(c)


@functools.cache
def _norm(power: int) -> float:
    return integrate.quad(lambda x: math.cos(x) ** power, -math.pi / 2, math.pi / 2, epsabs=1e-14)[0]


def _gauss(function: Function, low: float, high: float) -> float:
    return float(function((low + high) / 2 + (high - low) / 2 * _S) @ _S_WEIGHTS) * (high - low) / 2


def _before(goes_on: Function, seeds: int, bound: float, kinks: Sequence[float]) -> tuple[Function, list[float]]:
    """The function of c of so many seeds from that of one more, where |c| has to be below the bound; and its kinks."""
    places = [bound, *kinks] if bound < 1 else list(kinks)
    squares = [((seeds + 1) * place**2 - 1) / seeds for place in places]
    new = sorted({math.sqrt(square) for square in squares if 0 < square < 1})
    ends = [0.0, *new, 1.0]
    pieces = []
    for low, high in itertools.pairwise(ends):
        points = low + (high - low) * np.sin(_ANGLES) ** 2
        values = [_mean(goes_on, seeds, bound, places, min(1.0, c)) for c in points]
        pieces.append(interpolate.make_interp_spline(_ANGLES, np.array(values) / _norm(seeds - 1), k=7))

    def function(c: np.ndarray) -> np.ndarray:
        c = np.abs(c)
        found = np.empty_like(c)
        which = np.searchsorted(new, c) if new else np.zeros(c.shape, int)
        for at, (low, high) in enumerate(itertools.pairwise(ends)):
            here = which == at
            share = np.clip((c[here] - low) / (high - low), 0, 1)
            found[here] = pieces[at](np.arcsin(np.sqrt(share)))
        return found

    return function, new


def _mean(goes_on: Function, seeds: int, bound: float, places: Sequence[float], c: float) -> float:
    amplitude = math.sqrt((seeds * c * c + 1) / (seeds + 1))
    psi = math.atan2(math.sqrt(seeds) * c, 1.0)
    cuts = {-math.pi / 2, math.pi / 2}
    for place in places:
        if place < amplitude:
            angle = math.asin(place / amplitude)
            found = (sign * angle + turn for sign in (-1, 1) for turn in (-math.pi, 0.0, math.pi))
            cuts |= {one - psi for one in found if abs(one - psi) < math.pi / 2}
    total = 0.0
    for low, high in itertools.pairwise(sorted(cuts)):
        if abs(amplitude * math.sin((low + high) / 2 + psi)) < bound * (1 + 1e-12):  # at a kink A is the bound
            total += _gauss(
                lambda x: goes_on(np.clip(amplitude * np.sin(x + psi), -1, 1)) * np.cos(x) ** (seeds - 1), low, high
            )
    return total


@functools.cache
def boundaries(looks: tuple[int, ...], alpha: float, spending: str) -> tuple[float, ...]:
    """Critical |t| at each look, one after the other."""
    found: list[float] = []
    for number, seeds in enumerate(looks, start=1):
        spent = allowed(alpha, seeds / looks[-1], spending)
        if number == 1:
            found.append(float(stats.t.isf(spent / 2, seeds - 1)))
            continue
        least = float(stats.t.isf(spent / 2, seeds - 1)) * 0.5
        most = float(stats.t.isf((spent - allowed(alpha, looks[number - 2] / looks[-1], spending)) / 2, seeds - 1))

        def excess(c: float, seen: tuple[int, ...] = looks[:number], level: float = spent) -> float:
            return crossed(seen, (*found, c)) - level

        found.append(optimize.brentq(excess, least, most, xtol=1e-12, rtol=1e-12))
    return tuple(found)


# -- any number of seeds ----------------------------------------------------------------


def evidence(differences: np.ndarray, variance: float = 2.0) -> float:
    """Likelihood ratio of "mean / SD ~ N(0, variance)" to "mean = 0", the standard deviation integrated over ds / s."""
    d = differences / np.sqrt(np.mean(differences**2))
    num = len(d)
    log_s = np.linspace(-8, 40 / num + 4, 1601)[:, None]
    effects = math.sqrt(variance) * np.linspace(-14, 14, 801)
    s = np.exp(log_s)
    # Sum of (d / s - effect)^2, the data scaled to a sum of squares of n.
    squares = num / s**2 - 2 * effects * d.sum() / s + num * effects**2
    spread = stats.norm.pdf(effects, scale=math.sqrt(variance)) * (effects[1] - effects[0])
    with_effect = np.exp(-num * log_s - squares / 2) @ spread
    without = np.exp(-num * log_s[:, 0] - num / (2 * s[:, 0] ** 2))
    return float(with_effect.sum() / without.sum())


def anytime_p(differences: Sequence[float], shift: float = 0.0, side: int = 0) -> float:
    """1 / the largest evidence so far, from three differences on; with a side only where the mean is on it."""
    best = 1.0
    for number in range(3, len(differences) + 1):
        seen = np.array(differences[:number]) - shift
        if side * seen.mean() >= 0 and seen.std() > 0:
            best = max(best, evidence(seen))
    return 1 / best


def anytime_half_width(differences: Sequence[float], alpha: float) -> float | None:
    """Half of the range of means against which there is no evidence of 1 / alpha; None where there is no end."""
    d = np.array(differences)
    centred, spread = d - d.mean(), d.std(ddof=1)
    if len(d) < 3 or evidence(centred + 1e4 * spread) < 1 / alpha:
        return None
    return float(optimize.brentq(lambda m: evidence(centred + m) - 1 / alpha, 0, 1e3 * spread, xtol=1e-13 * spread))
