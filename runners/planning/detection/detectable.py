"""The smallest difference that the seeds of a plan can detect."""

from __future__ import annotations

import math
from dataclasses import dataclass

from runners.planning.detection.power import detectable_effect
from runners.planning.history import Spread
from runners.planning.plan import Plan
from search_space import METRICS

__all__ = ["Detectable", "detectable_with"]

DEFAULT_STD = {"%": 0.2, "nats": 0.01}
"""Assumed standard deviation of same-seed differences without a history, by unit: that of ImageNet-size runs."""


@dataclass(frozen=True)
class Detectable:
    """Minimum detectable difference at 80 % power and the sweep's alpha, in the metric's unit; None below 3 seeds.

    Attributes:
        single: for a single comparison with the baseline.
        worst: after the sweep's correction for all variants, if no other differs from the baseline.
        worst_holm: the same after Holm's correction, whatever the sweep's is.
        std: standard deviation of the paired differences, from `spread`; assumed where that is None, and None where
            nothing can be assumed: of a metric in a unit of the user's own.
        granularity: one image of the test set in the metric's unit, below which nothing is promised; None for metrics
            that are no share of images.
    """

    num_seeds: int
    num_arms: int
    alpha: float
    correction: str
    std: float | None
    spread: Spread | None
    granularity: float | None
    single: float | None
    worst: float | None
    worst_holm: float | None


def detectable_with(plan: Plan, num_seeds: int, num_arms: int, spread: Spread | None) -> Detectable:
    """What so many seeds detect in so many arms, by the spread of the differences so far; None: assumed."""
    sweep = plan.sweep
    alpha, correction = sweep.analysis.alpha, sweep.analysis.correction
    known = spread if spread and spread.std > 0 else None
    num_images = plan.num_test_images() if METRICS[sweep.metric].is_of_images else None
    granularity = 100 / num_images if num_images else None
    # An accuracy is rounded to whole images. The difference of two roundings has a variance of 2/12 of a step squared.
    rounding = (granularity or 0.0) / math.sqrt(6)
    assumed = None if plan.is_foreign else max(DEFAULT_STD[METRICS[sweep.metric].unit], rounding)
    std = known.std if known else assumed

    def difference(num_tests: int, by: str) -> float | None:
        found = detectable_effect(num_seeds, alpha=alpha, num_tests=num_tests, correction=by) if num_arms > 0 else None
        return None if found is None or std is None else max(found * std, granularity or 0.0)

    return Detectable(
        num_seeds=num_seeds,
        num_arms=num_arms,
        alpha=alpha,
        correction=correction,
        std=std,
        spread=known,
        granularity=granularity,
        single=difference(1, "none"),
        worst=difference(num_arms, correction),
        worst_holm=difference(num_arms, "holm"),
    )
