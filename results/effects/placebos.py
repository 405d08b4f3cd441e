"""What mechanisms gain beyond their parameters and their cost: the row of a component minus the row of its placebo.

The placebo (`search_space/designs/components.py`) has the mechanism's parameters and multiply-accumulates and does not
mix. Its own difference to the baseline in the table is what parameters and cost give; the difference here, seed by
seed, is the rest. Both rows must be complete at the seed, and trained for the same epochs.
"""

from __future__ import annotations

from dataclasses import dataclass

from results.stats.hypothesis_tests import CORRECTIONS, paired_t_p_value
from results.stats.paired import PairedDelta, paired_delta
from results.table.comparison import budgets
from results.table.table import AblationTable, Row

__all__ = ["BeyondParameters", "beyond_parameters"]


@dataclass(frozen=True)
class BeyondParameters:
    """The mechanism of a component minus its placebo; positive: the metric rises with what the mechanism does.

    Attributes:
        delta: over the seeds that both rows have.
        p_corrected: paired t-test of 0, over the placebos of the table; None below 3 seeds or without any spread.
    """

    component: str
    row: str
    placebo: str
    delta: PairedDelta
    p_corrected: float | None


def beyond_parameters(table: AblationTable) -> tuple[BeyondParameters, ...]:
    """Of every placebo of the table whose mechanism has a seed in common with it; none for a table with blocks or
    looks."""
    if table.blocks is not None or table.is_sequential:
        return ()  # rows that stop at looks have other seeds, chosen by their values
    metric = table.metric.name
    fakes = [row for row in table.rows if row.placebo_of]
    found: list[tuple[Row, Row, PairedDelta]] = []
    for fake in fakes:
        real = _mechanism(table, fake.placebo_of)
        if real is None or budgets(real) != budgets(fake):
            continue
        delta = paired_delta(real.values(metric), fake.values(metric), alpha=table.analysis.alpha)
        if delta is not None:
            found.append((real, fake, delta))
    raw = [paired_t_p_value(delta) for _, _, delta in found]
    known = [p for p in raw if p is not None]
    corrected = iter(CORRECTIONS[table.analysis.correction](known, len(fakes), None))
    return tuple(
        BeyondParameters(fake.placebo_of, real.name, fake.name, delta, None if p is None else next(corrected))
        for (real, fake, delta), p in zip(found, raw, strict=True)
    )


def _mechanism(table: AblationTable, component: str) -> Row | None:
    """The row that the placebo was made of: with the component on, and as the design has it with as few or all others.

    The full model of leave_one_out, else the first row that has the component: alone in add_one_in, and in cumulative
    the row that adds it.
    """
    having = [row for row in table.rows if row.components.get(component)]
    return next((row for row in having if row.is_baseline), min(having, key=_num_on, default=None))


def _num_on(row: Row) -> int:
    return sum(row.components.values())
