"""Comparison of the table's rows with the baseline: verdicts, emphasis, cost changes.

Rules of a fair comparison: all planned seeds, the same number of epochs, one family of tests per study, and the cost
of a gain beside the gain. The verdicts are those of `results/stats/verdicts.py`; simultaneous intervals, where the
sweep asks for them, replace those of the rows by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from results.plan.comparison import Analysis
from results.stats.dunnett import fit_blocks
from results.stats.paired import PairedDelta, with_half_width
from results.stats.sequential.evidence import Looks
from results.stats.t_distributions import t_critical
from results.stats.verdicts import TESTED, Judgement, Verdict, judge
from results.table.table import Row
from search_space.schema.metrics import Metric, metric_named
from search_space.settings.table_columns import COSTS

__all__ = ["budgets", "emphasis", "unfit", "with_comparisons"]


def with_comparisons(
    rows: Sequence[Row],
    *,
    metric: Metric,
    analysis: Analysis,
    is_tested: bool = True,
    looks: Looks | None = None,
    seeds: Sequence[int] = (),
) -> tuple[Row, ...]:
    """Rows with p-values, verdicts and cost changes; unchanged where there is no baseline.

    Args:
        is_tested: False where no test applies: rows of a search were selected by their values, and blocks of any
            settings need not be independent.
        looks: numbers of seeds at which rows are tested; None: all seeds are tested once.
        seeds: in the order in which they are trained.
    """
    baseline = next((row for row in rows if row.is_baseline), None)
    if baseline is None:
        return tuple(rows)
    judgements: dict[str, Judgement] = {}
    intervals: dict[str, PairedDelta] = {}
    others: dict[str, dict[str, PairedDelta]] = {row.variant_id: dict(row.other_deltas) for row in rows}
    for study in dict.fromkeys(row.study for row in rows if not row.is_baseline):
        arms = [row for row in rows if row.study == study and not row.is_baseline]
        judgements |= _judged(arms, baseline, metric, analysis, is_tested=is_tested, looks=looks, seeds=seeds)
        if looks is not None:
            alpha = analysis.alpha / (len(arms) if analysis.interval == "simultaneous" else 1)
            for row in arms:
                if row.delta is not None:
                    intervals[row.variant_id] = _repeated(row.delta, looks, alpha)
                others[row.variant_id] = {
                    name: _repeated(delta, looks, alpha) for name, delta in row.other_deltas.items()
                }
        elif analysis.interval == "simultaneous":
            intervals |= _simultaneous(arms, baseline, metric, analysis)
            for other in dict.fromkeys(name for row in arms for name in row.other_deltas):
                measured = [replace(row, delta=row.other_deltas.get(other)) for row in arms]
                known = metric_named(other)
                assert known is not None, "a difference of no metric"
                wider = _simultaneous(measured, baseline, known, analysis)
                for key, delta in wider.items():
                    others[key][other] = delta
    return tuple(
        replace(
            row,
            cost_changes=_cost_changes(row, baseline),
            delta=intervals.get(row.variant_id, row.delta),
            other_deltas=others[row.variant_id],
            **vars(judgements.get(row.variant_id, _NOTHING)),
        )
        for row in rows
    )


def emphasis(rows: Sequence[Row], metric: Metric) -> dict[str, Literal["bold", "underline"]]:
    """Emphasis by variant id: the best of the complete arms bold, the second underlined.

    Each only with the verdict `better`. The baseline is bold if every arm is `worse`.
    """
    baseline = next((row for row in rows if row.is_baseline), None)
    arms = [row for row in rows if row.verdict in TESTED]
    if baseline is None or not arms:
        return {}
    if all(row.verdict == "worse" for row in arms):
        return {baseline.variant_id: "bold"}
    sign = -1 if metric.direction == "maximize" else 1
    ranked = sorted([baseline, *arms], key=lambda row: sign * row.metrics[metric.name].mean)
    marks: tuple[Literal["bold", "underline"], ...] = ("bold", "underline")
    return {row.variant_id: mark for row, mark in zip(ranked, marks, strict=False) if row.verdict == "better"}


_NOTHING = Judgement()


def _judged(
    arms: Sequence[Row],
    baseline: Row,
    metric: Metric,
    analysis: Analysis,
    *,
    is_tested: bool,
    looks: Looks | None,
    seeds: Sequence[int],
) -> dict[str, Judgement]:
    kinds: dict[str, Verdict | None] = {row.variant_id: unfit(row, baseline, metric) for row in arms}
    fit = {row.variant_id: row for row in arms if is_tested and kinds[row.variant_id] is None}
    deltas: dict[str, PairedDelta] = {key: row.delta for key, row in fit.items() if row.delta is not None}
    sequential = None
    if looks is not None:
        theirs = baseline.values(metric.name)
        sequential = {
            key: looks.p_values(fit[key].values(metric.name), theirs, seeds, analysis.margin) for key in deltas
        }
    judged = judge(
        deltas,
        metric=metric,
        analysis=analysis,
        num_arms=len(arms),
        sequential=sequential,
        values={key: _values(fit[key], metric) for key in deltas},
        baseline=_values(baseline, metric),
    )
    return {key: judged.get(key, Judgement(verdict=kind)) for key, kind in kinds.items()}


def _simultaneous(arms: Sequence[Row], baseline: Row, metric: Metric, analysis: Analysis) -> dict[str, PairedDelta]:
    """Differences with intervals that hold for all arms of a study at once: Bonferroni's t, or Dunnett's where the
    sweep chose that test; its intervals are of complete arms, the others have none."""
    deltas = {row.variant_id: row.delta for row in arms if row.delta is not None}
    if analysis.correction == "dunnett":
        complete = {row.variant_id: _values(row, metric) for row in arms if unfit(row, baseline, metric) is None}
        fit = fit_blocks(complete, _values(baseline, metric), len(arms))
        half = fit.half_width(analysis.alpha) if fit else None
        return {key: with_half_width(delta, half if key in complete else None) for key, delta in deltas.items()}
    return {key: _bonferroni(delta, analysis.alpha / len(arms)) for key, delta in deltas.items()}


def _bonferroni(delta: PairedDelta, alpha: float) -> PairedDelta:
    if delta.error is None or delta.is_of_unlike:
        return delta
    return with_half_width(delta, t_critical(alpha, delta.num_pairs - 1) * delta.error)


def unfit(row: Row, baseline: Row, metric: Metric) -> Literal["incomplete", "unequal budget"] | None:
    """Reason why the row must not be ranked with complete ones; None if it may."""
    for ours, theirs in _common_cells(row, baseline):
        if ours.num_completed and theirs.num_completed and budgets(ours) != budgets(theirs):
            return "unequal budget"
    if any(_lacks_values(one, metric, row.num_planned) for one in (row, baseline)):
        return "incomplete"
    return None


def _lacks_values(row: Row, metric: Metric, num_pairs: int) -> bool:
    """Whether a row has no value at one of its first so many seeds: a baseline may have more than the row beside it."""
    number = min(row.num_planned, num_pairs)
    summary = row.metrics.get(metric.name)
    return row.num_completed < number or summary is None or summary.num < number


def budgets(row: Row) -> frozenset[tuple[int, int | None]]:
    """Trained epochs and scheduled epochs of the completed trials."""
    return frozenset(
        (record.epochs, record.spec.get("train", {}).get("epochs"))
        for record in row.records
        if record.status == "completed"
    )


def _repeated(delta: PairedDelta, looks: Looks, alpha: float) -> PairedDelta:
    """The difference with the interval that holds at all looks."""
    return with_half_width(delta, looks.half_width(delta, alpha))


def _values(row: Row, metric: Metric) -> list[float]:
    """Values of a complete row in the order of the seeds."""
    return list(row.values(metric.name).values())


def _cost_changes(row: Row, baseline: Row) -> dict[str, float]:
    if row.is_baseline:
        return {}
    found: dict[str, float] = {}
    for cost in COSTS:
        pairs = [(getattr(ours, cost), getattr(theirs, cost)) for ours, theirs in _common_cells(row, baseline)]
        known = [(ours, theirs) for ours, theirs in pairs if ours is not None and theirs is not None]
        whole = math.fsum(theirs for _, theirs in known)
        if whole:
            found[cost] = math.fsum(ours for ours, _ in known) / whole - 1
    return found


def _common_cells(row: Row, baseline: Row) -> list[tuple[Row, Row]]:
    """Both rows within each block that both have; the rows themselves without blocks."""
    return [(cell, baseline.cells[block]) for block, cell in row.cells.items() if block in baseline.cells]
