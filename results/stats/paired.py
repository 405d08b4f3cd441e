"""Means, standard deviations and paired differences of an ablation table.

Paired: every variant is trained with the same seeds, so the effect that a seed has on both arms cancels in their
difference. The interval is Student's t on those differences; a nominal 95 % percentile bootstrap of three seeds covers
only 75 %. A single value has no standard deviation.

Sums are exactly rounded (`math.fsum`), so the order of the values cannot change the last digit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["CONFIDENCE", "PairedDelta", "Summary", "is_measured", "paired_delta", "summarise", "t_quantile"]

CONFIDENCE = 0.95
_LARGEST = 1e100


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation (n - 1) of n values; `std` is None for a single value."""

    mean: float
    std: float | None
    num: int


@dataclass(frozen=True)
class PairedDelta:
    """Same-seed differences, variant minus baseline: mean, its 95 % t-interval, standard deviation (n - 1).

    One pair has neither interval nor standard deviation.

    Attributes:
        std: compared with the standard deviations of the two arms, it shows how much variance pairing removes.
        differences: in the order of the seeds.
    """

    mean: float
    low: float | None
    high: float | None
    num_pairs: int
    std: float | None = None
    differences: tuple[float, ...] = ()


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
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return Summary(mean, math.sqrt(variance), len(values))


def paired_delta(variant: Mapping[int, float], baseline: Mapping[int, float]) -> PairedDelta | None:
    """Difference to the baseline over the seeds that both have (seed -> value); None if they share none."""
    differences = tuple(variant[seed] - baseline[seed] for seed in sorted(variant.keys() & baseline.keys()))
    summary = summarise(differences)
    if summary is None:
        return None
    if summary.std is None:
        return PairedDelta(summary.mean, None, None, 1, None, differences)
    half = t_quantile(summary.num - 1) * summary.std / math.sqrt(summary.num)
    low, high = summary.mean - half, summary.mean + half
    return PairedDelta(summary.mean, low, high, summary.num, summary.std, differences)


@functools.cache
def t_quantile(degrees: int) -> float:
    """97.5 % quantile of Student's t with these degrees of freedom: half width of the 95 % interval."""
    # Imported here: scipy takes 0.2 s, and `status` and the driver do not need it.
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
