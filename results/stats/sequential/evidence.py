"""Evidence on an arm over the looks that were taken: sequential p-values, and half widths of repeated intervals.

Two kinds of looks: planned ones, among which the level is spent (`p_values.py`), and all numbers of seeds (`anytime`).
Equivalence: the mean difference is below the margin and above its negative, each by the same test of the shifted
differences; the p-value is the larger of the two. It is two-sided, where a single look has one-sided tests: an arm is
equivalent exactly where its repeated interval is within the margin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from results.plan.comparison import Analysis, Rounds
from results.stats.hypothesis_tests import CORRECTIONS, MIN_SEEDS_TEST
from results.stats.paired import PairedDelta, has_no_spread, paired_delta
from results.stats.sequential.anytime import anytime_critical, anytime_p_value
from results.stats.sequential.boundaries import critical_values
from results.stats.sequential.p_values import sequential_p_value
from results.stats.sequential.spending import Spending

__all__ = ["Looks", "PValues", "corrected", "looks_of"]


@dataclass(frozen=True)
class PValues:
    """Of "no difference" and of "a difference of the margin or more"; None where no look allows a test."""

    difference: float | None
    equivalence: float | None = None


def corrected(known: Mapping[str, PValues], analysis: Analysis, family: int) -> dict[str, PValues]:
    """All p-values of the arms of a study, corrected together.

    Args:
        family: arms of the study, tested or not.
    """
    raw: dict[tuple[str, str], float] = {}
    for kind in ("difference", "equivalence"):
        raw |= {(name, kind): p for name, each in known.items() if (p := getattr(each, kind)) is not None}
    num_tests = family if analysis.margin is None else 2 * family
    after = dict(zip(raw, CORRECTIONS[analysis.correction](list(raw.values()), num_tests, family), strict=True))
    return {name: PValues(after.get((name, "difference")), after.get((name, "equivalence"))) for name in known}


@dataclass(frozen=True)
class Looks:
    """Numbers of seeds at which an arm is tested.

    Attributes:
        planned: rising; empty: every number from 3 on.
        spending: of the level over the planned looks; None: tests that hold at any number of seeds.
    """

    planned: tuple[int, ...] = ()
    spending: Spending | None = None

    def p_values(
        self,
        variant: Mapping[int, float],
        baseline: Mapping[int, float],
        seeds: Sequence[int],
        margin: float | None = None,
    ) -> PValues:
        """p-values by the first so many of the seeds that both have.

        Args:
            variant, baseline: seed -> value.
            seeds: in the order in which they are trained.
        """
        complete = next((i for i, seed in enumerate(seeds) if seed not in variant or seed not in baseline), len(seeds))
        found = {number: paired_delta(variant, _first(baseline, seeds, number)) for number in self._until(complete)}
        tested = {
            number: delta for number, delta in found.items() if delta and delta.error and not has_no_spread(delta)
        }
        if not tested:
            return PValues(None)
        difference = self._p({number: abs(_t(delta, 0.0)) for number, delta in tested.items()})
        if margin is None:
            return PValues(difference)
        below = {number: -_t(delta, margin) for number, delta in tested.items()}
        above = {number: _t(delta, -margin) for number, delta in tested.items()}
        sides = [self._p({number: t for number, t in side.items() if t > 0}) for side in (below, above)]
        return PValues(difference, max(sides))

    def half_width(self, delta: PairedDelta, alpha: float) -> float | None:
        """Half width of the repeated interval; None between the looks, or where it has no end."""
        if delta.error is None or delta.num_pairs < MIN_SEEDS_TEST:
            return None
        if self.spending is None:
            critical = anytime_critical(delta.num_pairs, alpha)
        elif delta.num_pairs in self.planned:
            critical = critical_values(self.planned, alpha, self.spending)[self.planned.index(delta.num_pairs)]
        else:
            return None
        return critical * delta.error if math.isfinite(critical) else None

    def _until(self, complete: int) -> list[int]:
        if self.spending is None:
            return list(range(MIN_SEEDS_TEST, complete + 1))
        return [number for number in self.planned if number <= complete]

    def _p(self, found: Mapping[int, float]) -> float:
        if self.spending is None:
            return anytime_p_value(found.items())
        return sequential_p_value(found, self.planned, self.spending)


def looks_of(analysis: Analysis, rounds: Rounds | None) -> Looks | None:
    """How the arms of a plan are tested; None where all seeds are tested once."""
    if analysis.sequential == "anytime":
        return Looks()
    return None if rounds is None else Looks(tuple(rounds.looks), rounds.spending)


def _first(values: Mapping[int, float], seeds: Sequence[int], number: int) -> dict[int, float]:
    return {seed: values[seed] for seed in seeds[:number]}


def _t(delta: PairedDelta, shift: float) -> float:
    assert delta.error, "a test without a spread"
    return (delta.mean - shift) / delta.error
