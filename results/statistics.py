"""Means, standard deviations and paired differences, as they stand in an ablation table.

Paired: every variant is trained with the same seeds, so the spread that a seed causes in both arms cancels in the
difference of the two. The interval is Student's t on those differences; the percentile bootstrap of three seeds covers
75 % of the time where it promises 95 %. Nothing here invents a spread: one value has no standard deviation.

Sums are exactly rounded (`math.fsum`), so the order of the values cannot change the last digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["CONFIDENCE", "PairedDelta", "Summary", "paired_delta", "summarise"]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation (n - 1) of n values; `std` is None for a single value."""

    mean: float
    std: float | None
    num: int


@dataclass(frozen=True)
class PairedDelta:
    """Mean of the same-seed differences, variant minus baseline, and its 95 % t-interval; no interval from one pair."""

    mean: float
    low: float | None
    high: float | None
    num_pairs: int


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
    shared = sorted(variant.keys() & baseline.keys())
    differences = summarise(variant[seed] - baseline[seed] for seed in shared)
    if differences is None:
        return None
    if differences.std is None:
        return PairedDelta(differences.mean, None, None, 1)
    half = _t_quantile(differences.num - 1) * differences.std / math.sqrt(differences.num)
    return PairedDelta(differences.mean, differences.mean - half, differences.mean + half, differences.num)


def _t_quantile(degrees: int) -> float:
    # Here and not above: scipy takes 0.2 s to import, which `status` and the driver need not pay.
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
