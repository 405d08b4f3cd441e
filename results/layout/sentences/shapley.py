"""Shapley values and placebos as texts: the cells of a table of values, and the notes below the ablation table.

Numbers and their errors are those of `results/effects`, which needs scipy: it is imported only for tables of such
designs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from results.stats.numbers import delta_texts, fixed, level_percent, signed
from results.table.table import AblationTable
from search_space.parsing.visible import visible

if TYPE_CHECKING:
    from results.effects.shapley import ShapleyValue, ShapleyValues
    from results.stats.paired import PairedDelta

__all__ = ["NOT_COMPUTABLE", "placebo_notes", "shapley_cells", "shapley_heads", "shapley_notes", "shapley_statements"]

NOT_COMPUTABLE = "not computable"
_MOST_MISSING = 8


def shapley_heads(table: AblationTable) -> tuple[str, ...]:
    """Heads of the columns of `shapley_cells`."""
    level = level_percent(table.analysis.alpha)
    orders = ("SE of orders",) if table.orders else ()
    unit = f" ({table.metric.unit})" if table.metric.unit else ""
    names = (f"Shapley value{unit}", f"{level} % interval", *orders, f"p ({_correction(table)})", "seeds")
    return ("component", *names, "alone", "beside all others", "value - alone", "value - beside all others")


def shapley_cells(table: AblationTable, found: ShapleyValues) -> list[tuple[str, ...]]:
    """One line per component, and one of all together where the values have the same seeds."""
    decimals = table.metric.decimals
    lines = [_line(one, table, decimals) for one in found.values]
    if found.whole is not None:
        orders = ("",) if table.orders else ()
        seeds = f"{found.whole.num_pairs}/{len(table.seeds)}"
        lines.append(("sum: all on minus all off", *delta_texts(found.whole, decimals), *orders, "", seeds, *("",) * 4))
    return lines


def shapley_statements(table: AblationTable, found: ShapleyValues) -> list[str]:
    """How the values are computed, and what of them is not."""
    level = level_percent(table.analysis.alpha)
    if found.num_orders:
        made = (
            f"estimated from {found.num_orders} sampled orders ({found.num_orders // 2} and their reverses, which pass "
            f"{found.num_coalitions} coalitions). Interval and p-value are those of the seeds, for these orders; what "
            "other orders would change is the standard error beside them, which is in neither"
        )
    else:
        made = f"exact, from all {found.num_coalitions} coalitions"
    said = [
        f"Shapley values: the mean gain of a component over the orders in which components can be added, {made}. Mean "
        f"over the seeds [{level} % t-interval, unadjusted]; p-values {_corrected(table)}."
    ]
    if found.missing:
        lacking = [f"{visible(one.name)} ({visible(one.reason)})" for one in found.missing[:_MOST_MISSING]]
        more = f" and {len(found.missing) - _MOST_MISSING} more" if len(found.missing) > _MOST_MISSING else ""
        lost = [visible(one.component) for one in found.values if one.value is None]
        which = f"Not computable: {', '.join(lost)}. " if lost else ""
        said.append(
            f"{which}A value needs all of its coalitions at the same seed; of these lack some: "
            f"{'; '.join(lacking)}{more}."
        )
    return said


def shapley_notes(table: AblationTable) -> Iterable[str]:
    """Notes below the ablation table: how, and a sentence for each component."""
    for part in table.parts:
        if part.design != "shapley" or part.blocks is not None:
            continue
        from results.effects.shapley import shapley  # here, because it needs scipy and few tables do

        found = shapley(part)
        of = f"{part.rows[0].study}: " if table.studies and part.rows else ""
        yield from (of + text for text in shapley_statements(part, found))
        yield from (f"{of}{_sentence(one, part)}" for one in found.values if one.value is not None)


def placebo_notes(table: AblationTable) -> Iterable[str]:
    """What each mechanism gains over its placebo: a sentence for each."""
    for part in table.parts:
        if not any(row.placebo_of for row in part.rows):
            continue
        from results.effects.placebos import beyond_parameters  # here, because it needs scipy and few tables do

        of = f"{part.rows[0].study}: " if table.studies else ""
        if part.blocks is not None or part.is_sequential:
            why = "over blocks" if part.blocks is not None else "whose seeds depend on results"
            yield f"{of}Mechanisms minus their placebos: not stated of rows {why}; the differences to the baseline are."
            continue
        for one in beyond_parameters(part):
            numbers = " ".join(delta_texts(one.delta, part.metric.decimals)).strip()
            p = "" if one.p_corrected is None else f", p = {one.p_corrected:.2g} ({_correction(part)})"
            yield (
                f"{of}{visible(one.component)} beyond its parameters and cost: {numbers}{p}; {visible(one.row)} minus "
                f"{visible(one.placebo)}, which has as many of both and does not mix, paired by seed."
            )


def _sentence(one: ShapleyValue, table: AblationTable) -> str:
    decimals = table.metric.decimals
    assert one.value is not None, "only values have a sentence"
    value, interval = delta_texts(one.value, decimals)
    parts = [f"{value} {interval}".strip()]
    parts += [] if one.order_error is None else [f"SE of orders {fixed(one.order_error, decimals)}"]
    parts += [] if one.p_corrected is None else [f"p = {one.p_corrected:.2g}"]
    designs = ((one.alone, "alone (add_one_in)"), (one.in_full, "beside all others (leave_one_out)"))
    parts += [f"{signed(delta.mean, decimals)} {name}" for delta, name in designs if delta is not None]
    lacks = len(table.seeds) - one.value.num_pairs
    seeds = f" of {one.value.num_pairs} of {len(table.seeds)} seeds" if lacks else ""
    return f"Shapley value of {visible(one.component)}{seeds}: {', '.join(parts)}."


def _line(one: ShapleyValue, table: AblationTable, decimals: int) -> tuple[str, ...]:
    num = one.value.num_pairs if one.value is not None else 0
    value = (NOT_COMPUTABLE, "") if one.value is None else delta_texts(one.value, decimals)
    error = "" if one.order_error is None else fixed(one.order_error, decimals)
    rest: Sequence[PairedDelta | None] = (one.alone, one.in_full, one.beyond_alone, one.beyond_in_full)
    return (
        visible(one.component),
        *value,
        *((error,) if table.orders else ()),
        "" if one.p_corrected is None else f"{one.p_corrected:.2g}",
        f"{num}/{len(table.seeds)}",
        *("" if delta is None else " ".join(delta_texts(delta, decimals)).strip() for delta in rest),
    )


def _correction(table: AblationTable) -> str:
    from results.stats.hypothesis_tests import CORRECTION_NAMES

    return CORRECTION_NAMES[table.analysis.correction]


def _corrected(table: AblationTable) -> str:
    name = _correction(table)
    return name if table.analysis.correction == "none" else f"corrected over the components ({name})"
