"""Critical values of the paired t-test at the looks of a sequential design, exact for normal differences.

Let t_n be the t statistic of the first n differences. Under "no difference" the mean and the variance are complete
sufficient statistics, and the sign and size of what was seen before is ancillary given the latest: read backwards, t is
a Markov chain whose steps depend on neither (Jennison and Turnbull, Exact Calculations for Sequential t, Chi-squared
and F Tests, Biometrika 78, 1991). With tau = t / sqrt(n - 1), the step from n to n - 1 seeds is

    tau' = (sqrt(n - 1) tau + sin(theta)) / (sqrt(n) cos(theta)),

where the density of theta in (-pi / 2, pi / 2) is proportional to cos(theta)^(n - 3): leaving out one of n points on a
sphere. So the chance g_n(t) that no earlier look was crossed, given t now, follows by one integral for each seed, and
that of crossing first at this look is the integral of g_n over the tail of Student's t.

Between a look and the next, |tau| is bounded (with n - 1 small values the n-th cannot make it large): g_n is zero from
a bound B on and behaves as a root there, so it is a polynomial in (2 u / pi)^2 with tau = B sin(u), to many digits.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from results.stats.sequential.spending import Spending, spent

if TYPE_CHECKING:
    import numpy as np

__all__ = ["critical_values", "critical_values_of"]

_DEGREE = 80
_ORDER = 40
_LARGEST = 1e15
"""Where the spent level is smaller than any probability that is computed, no difference is large enough."""


@functools.cache
def critical_values(looks: tuple[int, ...], alpha: float, spending: Spending) -> tuple[float, ...]:
    """|t| at each look from which on "no difference" is rejected at the level alpha; infinite where that is never."""
    import numpy as np

    return tuple(float(c) for c in critical_values_of(looks, np.array([alpha]), spending)[0])


def critical_values_of(looks: Sequence[int], levels: np.ndarray, spending: Spending) -> np.ndarray:
    """The same for several levels at once, of shape (levels, looks).

    Args:
        looks: numbers of seeds, rising, the first at least 3.
        levels: within (0, 1).
    """
    import numpy as np

    chain = _Chain(levels)
    found: list[np.ndarray] = []
    before = np.zeros_like(levels)
    for number, seeds in enumerate(looks):
        if number:
            chain.forget(found[-1], looks[number - 1], seeds)
        until = spent(levels, seeds / looks[-1], spending)
        found.append(chain.critical(np.maximum(0.0, until - before), seeds))
        before = until
    return np.where(np.stack(found, axis=1) >= _LARGEST, np.inf, np.stack(found, axis=1))


@dataclass
class _NotCrossed:
    """Chance that no earlier look was crossed, given tau: for each level a polynomial in 2 (2 u / pi)^2 - 1.

    Attributes:
        coefficients: of Chebyshev's polynomials, of shape (degree, levels).
        bound: largest |tau|, for each level.
    """

    coefficients: np.ndarray
    bound: np.ndarray

    def __call__(self, tau: np.ndarray) -> np.ndarray:
        """Values at `tau`, of shape (levels, ...)."""
        import numpy as np

        wide = (..., *[None] * (tau.ndim - 1))
        u = np.arcsin(np.minimum(1.0, np.abs(tau) / self.bound[wide]))
        at = 2 * (2 * u / math.pi) ** 2 - 1
        values = np.polynomial.chebyshev.chebval(at, self.coefficients[wide], tensor=False)
        return np.where(np.abs(tau) < self.bound[wide], np.clip(values, 0.0, 1.0), 0.0)


class _Chain:
    """The backward chain of several levels, at the look that is dealt with."""

    def __init__(self, levels: np.ndarray) -> None:
        self._num = len(levels)
        self._not_crossed: _NotCrossed | None = None  # at the first look: certain

    def forget(self, critical: np.ndarray, seeds: int, next_seeds: int) -> None:
        """Go on from the look at `seeds`, which crosses at `critical`, to that at `next_seeds`."""
        import numpy as np

        limit = critical / math.sqrt(seeds - 1)
        for number in range(seeds + 1, next_seeds + 1):
            self._step(number, limit)
            assert self._not_crossed is not None
            limit = np.full(self._num, np.inf)

    def _step(self, number: int, limit: np.ndarray) -> None:
        """From `number - 1` seeds, of which |tau| below the limit goes on, to `number`."""
        import numpy as np
        from scipy.special import betaln

        earlier = self._not_crossed
        limit = np.minimum(limit, _LARGEST if earlier is None else earlier.bound)
        reach = np.sqrt(number * limit**2 + 1)
        bound, psi = reach / math.sqrt(number - 1), np.arctan2(1.0, math.sqrt(number) * limit)[:, None]
        nodes, to_coefficients = _chebyshev()
        u = np.pi / 2 * np.sqrt((nodes + 1) / 2)
        tau = bound[:, None] * np.sin(u)
        # Those theta for which |tau'| is below the limit: one interval for each tau.
        high = np.pi / 2 - u - psi
        low = np.maximum(np.maximum(u - np.pi / 2 - psi, -np.pi / 2), -np.minimum(np.pi / 2 + u - psi, np.pi / 2))
        theta, weights = _between(low, np.maximum(low, high))
        cosine = np.maximum(np.cos(theta), 1e-300)
        before = (math.sqrt(number - 1) * tau[..., None] + np.sin(theta)) / (math.sqrt(number) * cosine)
        chance = np.ones_like(before) if earlier is None else earlier(before)
        density = np.exp((number - 3) * np.log(cosine) - betaln((number - 2) / 2, 0.5))
        values = np.sum(weights * chance * density, axis=-1)
        self._not_crossed = _NotCrossed(to_coefficients @ values.T, bound)

    def critical(self, increment: np.ndarray, seeds: int) -> np.ndarray:
        """|t| at which the chance of crossing first at this look is the increment."""
        import numpy as np
        from scipy.special import stdtrit

        degrees = seeds - 1
        if self._not_crossed is None:
            with np.errstate(divide="ignore"):
                return np.minimum(_LARGEST, -stdtrit(degrees, increment / 2))
        low, high = np.full(self._num, -30.0), np.full(self._num, math.log(_LARGEST))
        for _ in range(60):  # bisection of log t, down to neighbouring numbers
            middle = (low + high) / 2
            is_more = self._tail(np.exp(middle), degrees) > increment
            low, high = np.where(is_more, middle, low), np.where(is_more, high, middle)
        never = self._tail(np.full(self._num, 1e-13), degrees) <= increment
        return np.where(never, 0.0, np.where(increment > 0, np.exp(high), _LARGEST))

    def _tail(self, t: np.ndarray, degrees: int) -> np.ndarray:
        """P(|t_n| above this, and no earlier look crossed)."""
        import numpy as np
        from scipy.special import betaln

        assert self._not_crossed is not None
        start = np.arcsinh(t / math.sqrt(degrees))  # tau = sinh(x) has the density cosh(x)^-degrees in x
        end = np.minimum(np.arcsinh(self._not_crossed.bound), start + 45 / degrees + 5)
        x, weights = _between(start, np.maximum(start, end))
        log_cosh = x + np.log1p(np.exp(-2 * x)) - math.log(2)
        chance = self._not_crossed(np.sinh(x))
        return 2 * np.sum(weights * chance * np.exp(-degrees * log_cosh - betaln(0.5, degrees / 2)), axis=-1)


def _between(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on each interval, along a new last axis, for integrands that may behave as a root at its ends:
    Gauss and Legendre's in s, where x = middle + half sin(s)."""
    import numpy as np

    s, weights = _gauss()
    half = (high - low)[..., None] / 2
    return (low + high)[..., None] / 2 + half * np.sin(s), half * np.cos(s) * weights


@functools.cache
def _gauss() -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(_ORDER)
    return np.pi / 2 * nodes, np.pi / 2 * weights


@functools.cache
def _chebyshev() -> tuple[np.ndarray, np.ndarray]:
    """Nodes in (-1, 1), and the matrix that turns values at them into coefficients."""
    import numpy as np

    angles = math.pi * (np.arange(_DEGREE) + 0.5) / _DEGREE
    matrix = 2 / _DEGREE * np.cos(np.outer(np.arange(_DEGREE), angles))
    matrix[0] /= 2
    return np.cos(angles), matrix
