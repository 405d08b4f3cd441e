"""Contributions of components by two designs: each component alone, and beside all others.

`add_one_in` measures the gain of a component alone, `leave_one_out` its gain beside all others. Where the two differ
the components interact, and neither number is "the" contribution; a ladder would give a third one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from results.plan.comparison import Analysis
from results.stats.hypothesis_tests import CORRECTION_NAMES, CORRECTIONS, paired_t_p_value
from results.stats.numbers import signed
from results.stats.paired import PairedDelta, paired_delta
from results.table.table import AblationTable
from search_space.parsing.errors import Problem, SpecError

__all__ = ["Contribution", "contributions"]


@dataclass(frozen=True)
class Contribution:
    """The contribution of one component by both designs; positive: the metric rises with it.

    Attributes:
        alone: with the component minus without any.
        in_full: all components minus all but this one.
        p_corrected: for equality of both (paired t-test over the seeds that all four arms have), over the components;
            None below 3 seeds.
        warning: a sentence where they differ; else empty.
    """

    component: str
    alone: PairedDelta
    in_full: PairedDelta
    p_corrected: float | None
    warning: str


def contributions(leave_one_out: AblationTable, add_one_in: AblationTable) -> tuple[Contribution, ...]:
    """The contributions of the components that both tables measure, in their order.

    Raises:
        SpecError: the tables have different metrics or share no component.
    """
    if leave_one_out.metric != add_one_in.metric:
        message = f"different metrics: {leave_one_out.metric.name} and {add_one_in.metric.name}"
        raise SpecError(Problem(message, hint="compare two runs of one metric"))
    if leave_one_out.is_sequential or add_one_in.is_sequential:
        text = "contributions are not compared for designs with looks, whose rows stop by their values"
        raise SpecError(Problem(text, where=leave_one_out.sweep))
    if leave_one_out.blocks is not None or add_one_in.blocks is not None:
        raise SpecError(Problem("contributions are not compared for designs with blocks", where=leave_one_out.sweep))
    metric = leave_one_out.metric.name
    alone = _gains(add_one_in, metric, added=True)
    in_full = _gains(leave_one_out, metric, added=False)
    shared = [name for name in leave_one_out.components if name in alone and name in in_full]
    if not shared:
        raise SpecError(Problem("the two tables share no component with results", hint="compare designs of one space"))
    analysis = leave_one_out.analysis
    scale = max(_largest(table, metric) for table in (leave_one_out, add_one_in))
    deltas = {
        name: (_delta(alone[name], analysis.alpha, scale), _delta(in_full[name], analysis.alpha, scale))
        for name in shared
    }
    gaps = {name: paired_delta(in_full[name], alone[name], scale=scale) for name in shared}
    raw = {name: None if gap is None else paired_t_p_value(gap) for name, gap in gaps.items()}
    known = {name: p for name, p in raw.items() if p is not None}
    adjust = CORRECTIONS[analysis.correction]
    corrected = dict(zip(known, adjust(list(known.values()), len(shared), None), strict=True))
    decimals = leave_one_out.metric.decimals
    return tuple(
        Contribution(
            component=name,
            alone=deltas[name][0],
            in_full=deltas[name][1],
            p_corrected=corrected.get(name),
            warning=_warning(name, *deltas[name], corrected.get(name), analysis, decimals),
        )
        for name in shared
    )


def _gains(table: AblationTable, metric: str, *, added: bool) -> dict[str, dict[int, float]]:
    """component -> seed -> value with it minus value without it."""
    baseline = table.baseline
    if baseline is None:
        return {}
    base = baseline.values(metric)
    found = {}
    for row in table.rows:
        changed = [name for name, on in row.components.items() if on != baseline.components.get(name)]
        if len(changed) == 1 and row.components[changed[0]] == added:
            mine = row.values(metric)
            shared = mine.keys() & base.keys()
            sign = 1 if added else -1
            if shared:
                found[changed[0]] = {seed: sign * (mine[seed] - base[seed]) for seed in sorted(shared)}
    return found


def _largest(table: AblationTable, metric: str) -> float:
    return max((abs(value) for row in table.rows for value in row.values(metric).values()), default=0.0)


def _delta(gains: Mapping[int, float], alpha: float, scale: float) -> PairedDelta:
    delta = paired_delta(gains, dict.fromkeys(gains, 0.0), alpha=alpha, scale=scale)
    assert delta is not None, "a component without a seed is not shared"
    return delta


def _warning(
    name: str, alone: PairedDelta, in_full: PairedDelta, p: float | None, analysis: Analysis, decimals: int
) -> str:
    numbers = f"{name}: {signed(alone.mean, decimals)} alone, {signed(in_full.mean, decimals)} beside the others"
    if p is not None and p < analysis.alpha:
        by = CORRECTION_NAMES[analysis.correction]
        return f"{numbers}; they differ (p = {p:.2g}, {by}): it interacts with other components"
    if p is None and alone.mean * in_full.mean < 0:
        return f"{numbers}; the signs differ, and fewer than 3 shared seeds cannot tell whether by chance"
    return ""
