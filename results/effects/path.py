"""Gains of the steps of a greedy path from no component to all, each tested on seeds that did not choose it.

The gain of step t is v(S_t) - v(S_t-1), paired by seed, over the judging seeds alone; mean, t-interval, paired t-test
and verdict are those of any comparison, corrected over the steps (`dunnett` compares with one baseline, so Holm's is
used). The gains of a seed add up to v(all) - v(none). Given the choices, which rest on other trainings, the judged
values are those of any trials: the tests keep their level whatever was chosen.

The same gain over the choosing seeds is a difference of values each of which is the best of several noisy ones, and too
good on average; it is shown beside it, without interval or test.

Source: Fawcett & Hoos 2016 (docs/statistics.md, "Paths").
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from results.stats.paired import PairedDelta, paired_delta
from results.stats.rank_agreement import kendall_tau
from results.stats.verdicts import Judgement, Verdict, judge
from results.table.asked.path import PathSteps
from results.table.comparison import unfit
from results.table.table import AblationTable, Row
from search_space.parsing.errors import Problem, SpecError

__all__ = ["PathEffects", "StepGain", "path_effects"]


@dataclass(frozen=True)
class StepGain:
    """What one step adds, beside what the designs of one component at a time measure.

    Attributes:
        place: of the step on the path, from 1.
        num_candidates: combinations among which it was chosen; 1: there was no choice.
        gain: over the judging seeds that both rows have; None without any.
        p, p_corrected, verdict: of the gain; as in the table of a design, over the steps.
        choosing_gain: mean gain over the choosing seeds; None where one of both rows was not trained with them.
        alone, in_full: gain over no component, and beside all others, over the judging seeds; None without these rows.
    """

    place: int
    component: str
    num_candidates: int
    gain: PairedDelta | None
    p: float | None
    p_corrected: float | None
    verdict: Verdict | None
    choosing_gain: float | None
    alone: PairedDelta | None
    in_full: PairedDelta | None


@dataclass(frozen=True)
class PathEffects:
    """The steps of a table of the design `path` that are taken so far.

    Attributes:
        whole: all components minus none at the judging seeds, which the gains add up to; None before the path is whole,
            and where not all steps have the same seeds.
        tau_alone, tau_in_full: Kendall's tau-b of the gains on the path with the others; None where one is missing, or
            where one of both is the same for all components.
    """

    steps: tuple[StepGain, ...]
    whole: PairedDelta | None
    tau_alone: float | None
    tau_in_full: float | None


def path_effects(table: AblationTable) -> PathEffects:
    """The gains of a table of the design `path`, on its metric.

    Raises:
        SpecError: the table is of another design.
    """
    path = table.path
    if path is None:
        message = f"gains of steps need the design 'path', not {table.design or 'several designs'!r}"
        raise SpecError(Problem(message, where=table.sweep))
    judged = _Judged(table)
    pairs = [(judged.by_id[step.before], judged.by_id[step.chosen.variant_id]) for step in path.taken if step.chosen]
    gains = [judged.gain(before, after) for before, after in pairs]
    found = _judgements(table, path, pairs, gains)
    steps = tuple(
        StepGain(
            place=index + 1,
            component=chosen.component,
            num_candidates=len(step.candidates),
            gain=gains[index],
            p=found[index].p,
            p_corrected=found[index].p_corrected,
            verdict=found[index].verdict,
            choosing_gain=_choosing_gain(path, index),
            alone=judged.between(frozenset(), frozenset({chosen.component})),
            in_full=judged.between(judged.every - {chosen.component}, judged.every),
        )
        for index, step in enumerate(path.taken)
        if (chosen := step.chosen) is not None
    )
    seeds = {frozenset(judged.both(*pair)) for pair in pairs}
    is_whole = path.is_whole and len(seeds) == 1
    return PathEffects(
        steps=steps,
        whole=judged.gain(pairs[0][0], pairs[-1][1], seeds.pop()) if is_whole else None,
        tau_alone=_tau([(one.gain, one.alone) for one in steps], path),
        tau_in_full=_tau([(one.gain, one.in_full) for one in steps], path),
    )


class _Judged:
    """The judged rows of a table and their differences."""

    def __init__(self, table: AblationTable) -> None:
        self._table = table
        self.by_id = {row.variant_id: row for row in table.rows}
        self._rows = {_on(row): row for row in table.rows}
        self.every = frozenset(table.path.components if table.path is not None else ())
        values = (value for row in table.rows for value in row.values(table.metric.name).values())
        self._scale = max(map(abs, values), default=0.0)

    def both(self, before: Row, after: Row) -> list[int]:
        """The seeds that both have."""
        name = self._table.metric.name
        theirs = before.values(name)
        return [seed for seed in after.values(name) if seed in theirs]

    def gain(self, before: Row, after: Row, seeds: Collection[int] | None = None) -> PairedDelta | None:
        """After minus before, over the seeds that both have (and that are among the given ones)."""
        name, alpha = self._table.metric.name, self._table.analysis.alpha
        kept = {seed: value for seed, value in after.values(name).items() if seeds is None or seed in seeds}
        return paired_delta(kept, before.values(name), alpha=alpha, scale=self._scale)

    def between(self, before: frozenset[str], after: frozenset[str]) -> PairedDelta | None:
        """The gain from one combination to another; None where one is no row, or they were trained differently long."""
        lower, upper = self._rows.get(before), self._rows.get(after)
        if lower is None or upper is None or unfit(upper, lower, self._table.metric) == "unequal budget":
            return None
        return self.gain(lower, upper)


def _judgements(
    table: AblationTable, path: PathSteps, pairs: Sequence[tuple[Row, Row]], gains: Sequence[PairedDelta | None]
) -> list[Judgement]:
    """Verdicts of the steps, as rows against the row before them."""
    kinds: list[Verdict | None] = [unfit(after, before, table.metric) for before, after in pairs]
    fit = {str(index): gain for index, gain in enumerate(gains) if gain is not None and kinds[index] is None}
    by_holm = {"correction": "holm"} if table.analysis.correction == "dunnett" else {}
    found = judge(
        fit,
        metric=table.metric,
        analysis=table.analysis.model_copy(update=by_holm),
        num_arms=path.num_steps,
    )
    return [found.get(str(index), Judgement(verdict=kind)) for index, kind in enumerate(kinds)]


def _choosing_gain(path: PathSteps, index: int) -> float | None:
    """Mean gain of a step over the choosing seeds, where it and the step before it were choices."""
    chosen = path.taken[index].chosen
    before = path.taken[index - 1].chosen if index else None
    if chosen is None or before is None or not chosen.values or not before.values:
        return None
    return math.fsum(chosen.values[seed] - before.values[seed] for seed in chosen.values) / len(chosen.values)


def _tau(pairs: Sequence[tuple[PairedDelta | None, PairedDelta | None]], path: PathSteps) -> float | None:
    known = [(one.mean, other.mean) for one, other in pairs if one is not None and other is not None]
    return kendall_tau(known) if len(known) == len(path.components) else None


def _on(row: Row) -> frozenset[str]:
    return frozenset(name for name, is_on in row.components.items() if is_on)
