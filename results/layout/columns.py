"""Columns of an ablation table for readers: cells, decimals and headers of each, by the names that users see.

Formatting is only here and in `cells.py`, so that two formats cannot show different numbers. `named_column` makes any
column, also one that no default table has; `default_columns` are those of a table without a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from results.layout import cells
from results.layout.caption import DELTA
from results.layout.cells import Cell, Emphasis
from results.layout.majority import SECTION, is_not_above
from results.layout.sentences.published import sources
from results.layout.setting_values import value_in_row
from results.layout.trained_by import name_of_row
from results.stats.numbers import fixed, level_percent, shared_decimals, signed_percent
from results.stats.verdicts import TESTED
from results.table.comparison import emphasis
from results.table.table import AblationTable, Row
from search_space.schema.metrics import METRICS, OF_A_CLASS, Metric, metric_named
from search_space.settings.paths import is_path
from search_space.settings.table_columns import (
    COLUMNS,
    COSTS,
    EVERY_METRIC,
    component_column,
    in_block,
    of_metric,
)

__all__ = ["DOWN", "UP", "Column", "decimals_of", "default_columns", "named_column", "of_every_class"]

UP, DOWN = "\u2191", "\u2193"
_COST_TITLES = {
    "params_m": ("params (M)", 1, 4),
    "trainable_params_m": ("trainable (M)", 1, 6),
    "gmacs": ("GMACs", 1, 5),
    "train_seconds": ("train (s)", 0, 1),
}
_DROP_ORDER = (
    *("delta_std", "verdict", "probe", "path", "train_seconds", "gmacs", "trainable_params_m", "params_m"),
    *("published", "delta"),
)
_Align = Literal["left", "right", "center"]


@dataclass(frozen=True)
class Column:
    """One column of the layout.

    Attributes:
        name: name by which users choose it; a component's begins with `component.`.
        title: its name in the table, which a user may replace.
        mark: what a reader must know beside the name, and no user replaces: direction, interval, correction.
        drop_priority: columns with 1 are dropped first where the width is insufficient, then 2, ...; 0 is kept.
        is_name: header and cells are user text.
    """

    name: str
    title: str
    align: _Align
    cells: tuple[Cell, ...]
    mark: str = ""
    drop_priority: int = 0
    is_name: bool = False

    @property
    def header(self) -> str:
        return self.title + self.mark


def default_columns(table: AblationTable) -> tuple[Column, ...]:
    """Columns of a table for which none were chosen: those with a content."""
    probes = [probe.name for probe in METRICS.values() if probe.direction is None]
    names = [
        "variant",
        *map(component_column, table.components),
        *("front", "seeds", table.metric.name, "delta", "delta_std", "verdict"),
        *_in_blocks(table),
        *_further_objectives(table),
        *(name for name in probes if name != table.metric.name),
        *("published", *COSTS),
    ]
    return tuple(column for column in (named_column(table, name) for name in names) if _is_shown(column, table))


def named_column(table: AblationTable, name: str) -> Column:
    """The column of this name; `table_columns` says which names there are."""
    if name in COLUMNS:
        found = _fixed_column(table, name)
    elif within := table.within_block(name):
        found = _column_of_block(table, name, *within)
    elif name == table.metric.name:
        found = _metric_column(table, table.metric)
    elif (parts := of_metric(name)) is not None:
        if parts[1] == table.metric.name:
            return named_column(table, parts[0])
        found = _difference_of(table, name, *parts)
    elif is_path(name):
        found = _path_column(table, name)
    elif (component := name.removeprefix(component_column(""))) in table.components:
        found = Column(
            component_column(component),
            component,
            "center",
            _cells(table, lambda row: cells.component(row, component)),
            is_name=True,
        )
    else:
        found = _other_metric(table, _metric_named(name))
    order = "delta" if found.name == "interval" else "path" if is_path(found.name) else found.name
    if found.name != table.metric.name and found.drop_priority == 0 and order in _DROP_ORDER:
        found = replace(found, drop_priority=1 + _DROP_ORDER.index(order))
    renamed = table.format.rename
    title = renamed.get(found.name, renamed.get(found.name.removeprefix(component_column("")), found.title))
    return replace(found, title=title)


def of_every_class(table: AblationTable, names: Iterable[str]) -> tuple[str, ...]:
    """The names of columns, with `accuracy/*` (and `delta:accuracy/*`) as those of every class that was measured."""
    metrics = dict.fromkeys(name for row in table.rows for record in row.records for name in record.metrics)
    classes = [name for name in metrics if name.startswith(OF_A_CLASS)]
    every = f"{OF_A_CLASS}*"
    return tuple(
        found
        for name in names
        for found in ([name.removesuffix(every) + each for each in classes] if name.endswith(every) else [name])
    )


def decimals_of(table: AblationTable, metric: Metric) -> int:
    """Decimals of a metric: those asked for, else its own."""
    digits = table.format.digits
    return digits.get(metric.name, digits.get(EVERY_METRIC, metric.decimals))


def _fixed_column(table: AblationTable, name: str) -> Column:
    analysis = table.analysis
    decimals = table.format.digits.get("delta", decimals_of(table, table.metric))
    has_own_interval = "interval" in table.format.columns

    def of(title: str, cell: Callable[[Row], Cell], align: _Align = "right", **more: Any) -> Column:
        return Column(name, title, align, _cells(table, cell), **more)

    match name:
        case "variant":
            return of("variant", lambda row: Cell(name_of_row(table, row)), "left", is_name=True)
        case "variant_id":
            return of("id", lambda row: Cell(row.variant_id), "left", is_name=True)
        case "status":
            return of("status", lambda row: Cell(row.status), "left")
        case "study":
            return of("run" if table.studies else "study", lambda row: Cell(row.study), "left", is_name=True)
        case "front":
            return of("front", cells.front)
        case "seeds":
            return of("seeds", cells.seeds)
        case "delta":
            mark = "" if has_own_interval else _interval_mark(table)
            return of(
                DELTA,
                lambda row: cells.difference(row, decimals, analysis.alpha, with_interval=not has_own_interval),
                mark=mark,
            )
        case "interval":
            mark = _interval_mark(table)
            return of("interval", lambda row: cells.interval(row, decimals, analysis.alpha), mark=mark)
        case "delta_std":
            return of(f"SD {DELTA}", lambda row: cells.number(row.delta.std if row.delta else None, decimals))
        case "verdict":
            return of("verdict", lambda row: cells.verdict(row, analysis.correction), "left")
        case "delta_test_error":
            return of(f"SE {DELTA} (test images)", lambda row: cells.number(row.image_error, decimals))
        case "published":
            shown, numbers = decimals_of(table, table.metric), sources(table)
            return of("published", lambda row: cells.published(row, table.metric.name, shown, numbers))
        case _ if name in COSTS:
            return _cost_column(table, name)
        case _:
            title = "p of equivalence" if "equivalence" in name else "p"
            return of(title, lambda row: cells.p_value(getattr(row, name)), mark=_p_mark(name, analysis.correction))


def _is_shown(column: Column, table: AblationTable) -> bool:
    if column.name == "verdict":
        # Incomplete rows are already visible in the seeds column; the verdict column is for the other verdicts.
        return any(row.verdict in TESTED or row.verdict == "unequal budget" for row in table.rows)
    if column.name == "trainable_params_m":
        return any(row.is_partly_frozen for row in table.rows)  # elsewhere it repeats the parameters
    return column.is_name or column.name == "seeds" or any(str(cell) for cell in column.cells)


def _cells(table: AblationTable, cell: Callable[[Row], Cell]) -> tuple[Cell, ...]:
    return tuple(cell(row) for row in table.rows)


def _metric_column(table: AblationTable, metric: Metric) -> Column:
    # Per run, because two runs may share a variant.
    marks: dict[tuple[str, str], Emphasis] = {
        (row.study, row.variant_id): mark
        for part in table.parts
        for key, mark in emphasis(part.rows, metric).items()
        for row in part.rows
        if row.variant_id == key
    }

    def cell(row: Row) -> Cell:
        return _mean(table, row, metric, marks.get((row.study, row.variant_id), ""))

    title = f"{metric.name} ({metric.unit})" if metric.unit else metric.name
    return Column(metric.name, title, "right", _cells(table, cell), _arrow(metric))


def _other_metric(table: AblationTable, metric: Metric) -> Column:
    """Column of a metric that is not the table's: without difference or emphasis; of a probe without an arrow."""
    title = f"{metric.name} ({metric.unit})" if metric.unit else metric.name
    found = _cells(table, lambda row: _beside(table, row, metric.name, _mean(table, row, metric)))
    return Column(metric.name, title, "right", found, _arrow(metric), 1 + _DROP_ORDER.index("probe"))


def _beside(table: AblationTable, row: Row, name: str, cell: Cell) -> Cell:
    """The cell with what was published beside it, in a table that shows published numbers."""
    chosen = table.format.columns
    return cells.with_paper(cell, row, name) if not chosen or "published" in chosen else cell


def _metric_named(name: str) -> Metric:
    return metric_named(name) or Metric(name, "", None, 4, "")


def _difference_of(table: AblationTable, name: str, column: str, other: str) -> Column:
    """Column `column` of the differences of another metric than the table's: no test, so no stars and no verdict."""
    metric = _metric_named(other)
    decimals, alpha = decimals_of(table, metric), table.analysis.alpha
    has_own_interval = f"interval:{other}" in table.format.columns

    def cell(row: Row) -> Cell:
        delta = row.other_deltas.get(other)
        bare = replace(row, delta=delta, p_corrected=None, verdict=None)
        if column == "delta":
            return cells.difference(bare, decimals, alpha, with_interval=not has_own_interval)
        if column == "interval":
            return cells.interval(bare, decimals, alpha)
        return cells.number(delta.std if delta else None, decimals)

    titles = {"delta": f"{DELTA} {other}", "interval": f"interval of {DELTA} {other}"}
    title = titles.get(column, f"SD {DELTA} {other}")
    marked = column == "interval" or (column == "delta" and not has_own_interval)
    mark = _arrow(metric) * (column == "delta") + _interval_mark(table, other) * marked
    return Column(name, title, "right", _cells(table, cell), mark, 1 + _DROP_ORDER.index("probe"))


def _column_of_block(table: AblationTable, name: str, column: str, block: str) -> Column:
    """Column of one block: a metric, or the difference of the table's metric, each over the seeds in it."""
    priority = 1 + _DROP_ORDER.index("delta")

    def within(row: Row) -> Row | None:
        return row.blocks.get(block)

    if column == "delta":
        decimals, alpha = table.format.digits.get("delta", decimals_of(table, table.metric)), table.analysis.alpha
        found = [within(row) for row in table.rows]
        shown = tuple(
            Cell() if each is None else cells.difference(each, decimals, alpha, with_interval=True) for each in found
        )
        has_interval = any(each is not None and each.delta is not None and each.delta.low is not None for each in found)
        mark = f" [{level_percent(alpha)}% CI over seeds, unadjusted]" if has_interval else ""
        return Column(name, f"{DELTA}@{block}", "right", shown, mark, priority, is_name=True)
    metric = _metric_named(column)

    def mean(row: Row) -> Cell:
        inner = within(row)
        summary = None if inner is None else inner.metrics.get(metric.name)
        return cells.mean_and_std(summary, decimals_of(table, metric), any_std_shows=bool(table.format.digits))

    unit = f" ({metric.unit})" if metric.unit else ""
    return Column(
        name, f"{metric.name}@{block}{unit}", "right", _cells(table, mean), _arrow(metric), priority, is_name=True
    )


def _in_blocks(table: AblationTable) -> list[str]:
    """Columns of every block, where blocks are of different kind; of folds only those that are asked for."""
    if table.blocks is None or table.blocks.is_resampled:
        return []
    return [in_block(name, block) for block in table.blocks.names for name in (table.metric.name, "delta")]


def _arrow(metric: Metric) -> str:
    return {"maximize": f" {UP}", "minimize": f" {DOWN}"}.get(metric.direction or "", "")


def _path_column(table: AblationTable, path: str) -> Column:
    shown = [value_in_row(table, row, path) for row in table.rows]
    is_number = all(each.number is not None or not each.text for each in shown)
    found = tuple(Cell(each.text, sort_by=each.number) for each in shown)
    return Column(path, path, "right" if is_number else "left", found, is_name=True)


def _mean(table: AblationTable, row: Row, metric: Metric, mark: Emphasis = "") -> Cell:
    summary, digits = row.metrics.get(metric.name), decimals_of(table, metric)
    found = cells.mean_and_std(summary, digits, mark=mark, any_std_shows=bool(table.format.digits))
    return replace(found, spread=f"{found.spread} {SECTION}") if is_not_above(table, summary, metric.name) else found


def _interval_mark(table: AblationTable, other: str = "") -> str:
    """What the intervals of the differences are; of the table's metric, or of another one."""
    deltas = [row.other_deltas.get(other) if other else row.delta for row in table.rows]
    has_interval = any(delta is not None and delta.low is not None for delta in deltas)
    if not has_interval:
        return ""
    over = "seeds" if table.blocks is None else table.blocks.kind
    return f" [{level_percent(table.analysis.alpha)}% CI over {over}, {table.analysis.interval}]"


def _p_mark(name: str, correction: str) -> str:
    if not name.endswith("_corrected") or correction == "none":
        return " (not corrected)"
    return f" ({correction})"


def _cost_column(table: AblationTable, name: str) -> Column:
    title, least, most = _COST_TITLES[name]
    values: list[float | None] = [getattr(row, name) for row in table.rows]
    decimals = table.format.digits.get(name)
    if decimals is None:
        decimals = shared_decimals((value for value in values if value is not None), least=least, most=most)

    def cell(row: Row) -> Cell:
        value = getattr(row, name)
        if value is None:
            return _beside(table, row, name, Cell())
        change = f" ({signed_percent(row.cost_changes[name])})" if name in row.cost_changes else ""
        return _beside(table, row, name, Cell(fixed(value, decimals), change=change, sort_by=value))

    return Column(name, title, "right", _cells(table, cell))


def _further_objectives(table: AblationTable) -> list[str]:
    """Objectives of the search besides the table's metric; costs have their own columns."""
    names = [name.removeprefix("val_") for name in table.objectives]
    return [name for name in names if name in METRICS and name != table.metric.name]
