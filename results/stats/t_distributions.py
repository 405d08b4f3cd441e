"""Distributions of t statistics by deterministic quadrature: the noncentral t, and the largest of several t (Dunnett).

Both are computed from normal variables and the root S of a chi-squared variable over its degrees of freedom. The
normal part is integrated outside and the distribution function of S is taken inside, so that every integrand is smooth
on the scale of 1 whatever the level, the number of arms and of degrees of freedom. scipy has both, but its `nctdtr` is
NaN at some points of the lower tail, and its `dunnett` draws random points: it is precise to three or four decimals,
depends on the order of the arms, and takes 1.5 s to import.

`dunnett_tail` is the distribution of Dunnett, A Multiple Comparison Procedure for Comparing Several Treatments with a
Control (JASA 50, 1955): equal group sizes, so that any two t statistics have the correlation 1/2.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["dunnett_critical", "dunnett_tail", "t_critical", "two_sided_power"]

_FARTHEST = 40.0  # standard deviations; the normal tail beyond is below 1e-300
_NEGLIGIBLE = 1e-18
_ORDER = 16


@functools.cache
def t_critical(alpha: float, degrees: int) -> float:
    """Two-sided critical value of Student's t: |t| exceeds it with the probability alpha."""
    from scipy.special import stdtrit  # here and below, because the import takes 0.3 s and most commands do without

    # From the lower tail: 1 - alpha / 2 has lost the digits of a small alpha.
    return -float(stdtrit(degrees, alpha / 2))


def two_sided_power(shift: float, degrees: int, critical: float) -> float:
    """P(|T| > critical) of a noncentral t with this noncentrality; exact to 1e-12, a number for all finite arguments.

    T = (Z + shift) / S exceeds c where S < (Z + shift) / c.
    """
    return min(1.0, _upper_tail(shift, degrees, critical) + _upper_tail(-shift, degrees, critical))


def _upper_tail(shift: float, degrees: int, critical: float) -> float:
    import numpy as np
    from scipy.special import gammainc

    low, high = max(-9.0, -shift), 9.0
    if low >= high:  # needs a normal variable beyond 9
        return 0.0
    # The distribution function of S rises within 1 / sqrt(2 degrees); seen from Z that is `critical` times as wide.
    width = min(1.0, max(1e-3, critical * math.sqrt(2 / degrees)))
    z, weights = _panels(low, high, math.ceil((high - low) / width))
    with np.errstate(over="ignore"):
        inside = gammainc(degrees / 2, degrees / 2 * ((z + shift) / critical) ** 2)
    return float(weights @ (_density(z) * inside))


def dunnett_tail(t: float, num_arms: int, degrees: int) -> float:
    """P(max |T_i| >= |t|) over the arms: the p-value of Dunnett's two-sided test; relative error below 1e-11.

    Args:
        degrees: of the variance that all arms share.
    """
    import numpy as np
    from scipy.special import gammainc, gammainccinv, gammaincinv

    t = abs(t)
    if t < 1e-12:
        return 1.0
    # p is the mean of H(S t), where H is the upper tail of max |Z_i - Z_0| / sqrt(2), and so at least the part of it
    # below S t = 1, where H is near 1. With u = S t, where S matters beside that:
    half = degrees / 2
    share = float(gammainc(half, half / max(t, 1.0) / max(t, 1.0)))
    least, most = gammaincinv(half, max(_NEGLIGIBLE * share, 1e-300)), gammainccinv(half, 1e-20)
    low = max(t * math.sqrt(float(least) / half), 1e-150)
    high = min(t * math.sqrt(float(most) / half), _FARTHEST)
    if low >= high:
        return 0.0
    # In log u, where log S is of the same shape at every size of t, and as wide as 1 / sqrt(2 degrees).
    span = math.log(high / low)
    log_u, weights = _panels(math.log(low), math.log(high), math.ceil(span / min(0.5, 3 / math.sqrt(2 * degrees))))
    u = np.exp(log_u)
    return min(1.0, float((weights * u) @ (_chi_density(u / t, degrees) / t * _largest_tail(u, num_arms))))


@functools.cache
def dunnett_critical(alpha: float, num_arms: int, degrees: int) -> float:
    """The |t| at which `dunnett_tail` is alpha: half width of simultaneous intervals in standard errors."""
    low, high = t_critical(alpha, degrees), t_critical(alpha / num_arms, degrees)  # Bonferroni's is never smaller
    if num_arms == 1:
        return high
    # False position (Illinois) on log t and log p, which are nearly in a line; by halves where p is 0.
    ends = [low, high]
    logs = [_log_ratio(dunnett_tail(t, num_arms, degrees), alpha) for t in ends]
    last = -1
    for _ in range(60):
        share = logs[0] / (logs[0] - logs[1]) if math.isfinite(logs[1]) and logs[0] > logs[1] else 0.5
        t = ends[0] * (ends[1] / ends[0]) ** share
        found = _log_ratio(dunnett_tail(t, num_arms, degrees), alpha)
        if abs(found) < 1e-14 or not ends[0] < t < ends[1]:
            return t
        side = 0 if found > 0 else 1
        ends[side], logs[side] = t, found
        if side == last:  # the other end would stay where it is
            logs[1 - side] /= 2
        last = side
    return ends[1]


def _log_ratio(p: float, alpha: float) -> float:
    return math.log(p / alpha) if p > 0 else -math.inf


def _largest_tail(u: np.ndarray, num_arms: int) -> np.ndarray:
    """P(max |Z_i - Z_0| / sqrt(2) >= u) for each u: given Z_0 = z the arms are independent."""
    import numpy as np
    from scipy.special import ndtr

    # Beyond max(u) / sqrt(2) + 9 even a certain exceedance adds nothing to double precision.
    z, weights = _panels(0.0, min(_FARTHEST, float(u.max()) / math.sqrt(2) + 9), 14)
    edge = math.sqrt(2) * u[:, None]
    one = np.minimum(1.0, ndtr(z - edge) + ndtr(-z - edge))
    with np.errstate(divide="ignore"):
        exceeded = -np.expm1(num_arms * np.log1p(-one))  # keeps the digits of small tails
    return exceeded @ (2 * weights * _density(z))


def _density(z: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _chi_density(s: np.ndarray, degrees: int) -> np.ndarray:
    """Density of S, the root of a chi-squared variable over its degrees of freedom."""
    import numpy as np

    half = degrees / 2
    scale = math.log(2) + half * math.log(half) - math.lgamma(half)
    return np.exp(scale + (degrees - 1) * np.log(s) - half * s * s)


def _panels(low: float, high: float, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss and Legendre on equal panels."""
    import numpy as np

    nodes, weights = _rule()
    half = (high - low) / num / 2
    centres = low + half * (2 * np.arange(num) + 1)
    return (centres[:, None] + half * nodes).ravel(), np.tile(half * weights, num)


@functools.cache
def _rule() -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    return np.polynomial.legendre.leggauss(_ORDER)
