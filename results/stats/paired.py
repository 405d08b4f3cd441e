"""Means, standard deviations and paired differences of an ablation table.

Paired: every variant is trained with the same seeds, so the effect that a seed has on both arms cancels in their
difference. The interval is Student's t on those differences; a nominal 95 % percentile bootstrap of three seeds covers
only 75 %. A single value has no standard deviation.

Sums are exactly rounded (`math.fsum`), so the order of the values cannot change the last digit. Differences and spreads
that are rounding errors of the compared values count as zero: a test would take the last bit for an effect.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from results.stats.t_distributions import t_critical

__all__ = [
    "ALPHA",
    "PairedDelta",
    "Summary",
    "has_no_spread",
    "is_measured",
    "is_rounding",
    "paired_delta",
    "scaled",
    "summarise",
    "with_half_width",
]

ALPHA = 0.05
_LARGEST = 1e100
_ROUNDING = 1e-12
"""Relative error of a metric in double precision, with room for the order of some thousand additions."""


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation (n - 1) of n values; `std` is None for a single value."""

    mean: float
    std: float | None
    num: int


@dataclass(frozen=True)
class PairedDelta:
    """Same-seed differences, variant minus baseline: mean, its interval, standard deviation (n - 1).

    One pair has neither interval nor standard deviation.

    Attributes:
        low, high: the t-interval of this difference by itself, or a simultaneous one (see `with_half_width`).
        std: compared with the standard deviations of the two arms, it shows how much variance pairing removes.
        differences: in the order of the seeds.
        scale: size of the compared values, by which rounding is judged.
        variance_factor: variance of the mean in variances of the differences, where they are not independent; None: 1
            / `num_pairs`.
        is_of_unlike: the differences are of blocks of different kind, so that they have ranks but no common spread.
    """

    mean: float
    low: float | None
    high: float | None
    num_pairs: int
    std: float | None = None
    differences: tuple[float, ...] = ()
    scale: float = field(default=0.0, compare=False)
    variance_factor: float | None = None
    is_of_unlike: bool = False

    @property
    def error(self) -> float | None:
        """Standard error of the mean; None without a standard deviation."""
        if self.std is None:
            return None
        if self.variance_factor is None:
            return self.std / math.sqrt(self.num_pairs)
        return self.std * math.sqrt(self.variance_factor)


def is_measured(value: float) -> bool:
    """False for NaN, infinity, and values so large that squares of differences overflow."""
    return abs(value) < _LARGEST


def summarise(values: Iterable[float]) -> Summary | None:
    """Mean and standard deviation of the values; None if there are none."""
    values = tuple(values)
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Summary(mean, None, 1)
    return Summary(mean, _spread(values, mean), len(values))


def _spread(values: Sequence[float], mean: float) -> float:
    """Standard deviation (n - 1). The mean is rounded, so the mean of the deviations from it is taken off: it is all
    that there is of equal values."""
    deviations, exponent = scaled([value - mean for value in values])
    squares = math.fsum(one * one for one in deviations) - math.fsum(deviations) ** 2 / len(deviations)
    return math.ldexp(math.sqrt(max(0.0, squares) / (len(deviations) - 1)), exponent)


def scaled(values: Sequence[float]) -> tuple[list[float], int]:
    """The values divided by a power of two, so that the largest is near 1, and its exponent. No digit changes, and
    their squares are no 0 where the values are near 1e-300."""
    exponent = math.frexp(max(map(abs, values)))[1]
    return [math.ldexp(value, -exponent) for value in values], exponent


def is_rounding(size: float, scale: float) -> bool:
    """True if a difference or a spread of this size is a rounding error of values as large as `scale`."""
    return abs(size) <= _ROUNDING * scale


def has_no_spread(delta: PairedDelta) -> bool:
    """True if all differences are equal up to rounding, so that no test applies."""
    return delta.std is not None and (is_rounding(delta.std, delta.scale) or delta.std <= 1e-9 * abs(delta.mean))


def paired_delta(
    variant: Mapping[int, float],
    baseline: Mapping[int, float],
    *,
    alpha: float = ALPHA,
    scale: float | None = None,
) -> PairedDelta | None:
    """Difference to the baseline over the seeds that both have (seed -> value); None if they share none.

    Args:
        alpha: 1 - level of the interval, which is for this difference by itself.
        scale: size of the measured values; default: the largest of those given. Values that are differences themselves
            carry the rounding errors of what they were computed from.
    """
    seeds = sorted(variant.keys() & baseline.keys())
    if scale is None:
        scale = max((abs(value) for seed in seeds for value in (variant[seed], baseline[seed])), default=0.0)
    raw = (variant[seed] - baseline[seed] for seed in seeds)
    differences = tuple(0.0 if is_rounding(difference, scale) else difference for difference in raw)
    summary = summarise(differences)
    if summary is None:
        return None
    delta = PairedDelta(summary.mean, None, None, summary.num, summary.std, differences, scale)
    if summary.std is None:
        return delta
    return with_half_width(delta, t_critical(alpha, summary.num - 1) * summary.std / math.sqrt(summary.num))


def with_half_width(delta: PairedDelta, half: float | None) -> PairedDelta:
    """The difference with the interval mean -+ half; without one if that is None."""
    if half is None:
        return replace(delta, low=None, high=None)
    return replace(delta, low=delta.mean - half, high=delta.mean + half)
