"""Notes about published numbers: their sources, rows that are not here, and whether ours are in the published order.

The order is that of `results/effects/published_order.py`, which needs scipy: it is imported only for tables of which
some source has an order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from results.plan.comparison import PublishedRow
from results.stats.numbers import delta_texts, level_percent
from results.table.table import AblationTable
from search_space.parsing.errors import first_of
from search_space.schema.metrics import metric_named
from search_space.schema.sweep import FEWEST_OF_AN_ORDER

if TYPE_CHECKING:
    from results.effects.published_order import PublishedOrder, Reversed

__all__ = ["published_notes", "sources"]

_MOST_NAMES = 8
_MOST_UNITS = 8  # by themselves; of more, the least and the largest
_USUAL_DECIMALS = 4


def sources(table: AblationTable) -> dict[str, int]:
    """Source of published numbers -> its number in the footnotes, counted from 1."""
    found = dict.fromkeys(row.source for ours in table.rows for row in ours.published)
    return {source: number for number, source in enumerate(found, start=1)}


def published_notes(table: AblationTable, *, is_shown: bool) -> Iterable[str]:
    """Sources, then published rows that are not here, then orders.

    Args:
        is_shown: whether the table has the column of published values; without it, only what is compared by order.
    """
    if is_shown:
        for source, number in sources(table).items():
            yield f"[{number}] published: {source}."
    for row in table.unmatched:
        if is_shown or row.compare == "order":
            yield f"Published, but no such row here: {_published_text(row)}."
    yield from _order_notes(table, is_shown=is_shown)


def _order_notes(table: AblationTable, *, is_shown: bool) -> Iterable[str]:
    if not any(row.published or row.order_only for row in table.rows):
        return
    from results.effects.published_order import published_orders  # here, because it needs scipy and few tables do

    shown: list[PublishedOrder] = []
    for part in table.parts:
        of = f"{part.rows[0].study}: " if table.studies and part.rows else ""
        for order in published_orders(part):
            if is_shown or order.is_order_only:
                shown.append(order)
                yield of + _sentence(order, part)
                if order.reversed:
                    yield f"{of}Not as published beyond the noise: {_reversals(order)}."
    if any(order.tau is not None for order in shown):
        yield _meaning(table, has_range=any(order.low is not None for order in shown))
    if any(order.is_order_only for order in shown):
        yield (
            "Compared by order only: the published values are of the paper's own setting, so they are in no column "
            "and no difference to them is stated."
        )


def _sentence(order: PublishedOrder, table: AblationTable) -> str:
    head = f"Order of {len(order.rows)} rows by {order.metric} as published ({order.source})"
    if order.lacking:
        head += f", without {first_of(order.lacking, _MOST_NAMES)} (no value at every seed so far)"
    if order.tau is None:
        return f"{head}: not stated, because {_obstacle(order, table)}."
    by = [_number(tau) for tau in order.by_unit]
    if len(by) > _MOST_UNITS:
        known = sorted(tau for tau in order.by_unit if tau is not None)
        by = [f"{_number(known[0])} to {_number(known[-1])}"] if known else ["none"]
    units = f"{len(order.units)} {_unit(table)}s (each by itself: {', '.join(by)})"
    if order.low is None or order.high is None:
        why = "looks decided the number of seeds" if order.obstacle == "looks" else "two distinguish no pair"
        return f"{head}: tau {_number(order.tau)} over {units}, without an interval: {why}."
    kept, turned = order.num_as_published or "none", len(order.reversed) or "none"
    return (
        f"{head}: tau {_number(order.tau)} [{_number(order.low)}, {_number(order.high)}] over {units}; of the "
        f"{order.num_pairs} pairs that the paper orders, {kept} are so here beyond the noise and {turned} the other "
        "way."
    )


def _obstacle(order: PublishedOrder, table: AblationTable) -> str:
    match order.obstacle:
        case "rows":
            return f"an order needs {FEWEST_OF_AN_ORDER} rows with both values"
        case "units":
            num = len(order.units)
            return f"one {_unit(table)} says nothing of the noise" if num else f"they have no {_unit(table)} in common"
        case "published equal":
            return "the published values are all equal"
        case _:
            return "our means are all equal"


def _reversals(order: PublishedOrder) -> str:
    texts = [_reversal(one, order.metric) for one in order.reversed]
    left = len(texts) - _MOST_NAMES
    return "; ".join(texts[:_MOST_NAMES]) + (f" and {left} more pairs" if left > 0 else "")


def _reversal(one: Reversed, name: str) -> str:
    metric = metric_named(name)
    ours = " ".join(delta_texts(one.ours, _USUAL_DECIMALS if metric is None else metric.decimals)).strip()
    return f"{one.upper} minus {one.lower} is {ours} here and {one.published:+.6g} there"


def _meaning(table: AblationTable, *, has_range: bool) -> str:
    text = (
        "tau: Kendall's tau-b of our means with the published values, 1 for the same order and -1 for the reverse one"
    )
    if not has_range:
        return f"{text}."
    test = "paired t-tests" if table.blocks is None else "corrected resampled t-tests"
    return (
        f"{text}; in brackets all that it can be if the pairs that {test} tell apart (beyond the noise; level "
        f"{level_percent(table.analysis.alpha)} % for all pairs together, Holm) keep their order. The noise of the "
        "published values is not known."
    )


def _number(tau: float | None) -> str:
    return "none" if tau is None else f"{tau:.2f}".replace("-0.00", "0.00")


def _unit(table: AblationTable) -> str:
    return "seed" if table.blocks is None else table.blocks.kind.removesuffix("s")


def _published_text(row: PublishedRow) -> str:
    """Published row as one line."""
    values = ", ".join(f"{name} {value:g}" for name, value in row.values.items())
    return f"{_changes_text(row.when) or 'baseline'}: {values} ({row.source})"


def _changes_text(changes: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{path}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for path, value in changes.items()
    )
