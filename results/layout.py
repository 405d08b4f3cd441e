"""The table as people read it: which columns, in which order, with how many decimals. Markdown and text draw it.

Formatting lives here once, so that two formats cannot show two numbers. Columns without any content are left out (a
search has no differences). A cell has two parts, value and spread, so that a terminal can align both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from results.footnotes import DAGGER, DELTA, PLUS_MINUS, footnotes, sources
from results.statistics import PairedDelta, Summary
from results.table import AblationTable, Row

__all__ = ["Cell", "Column", "Layout", "table_layout"]

_UP, _DOWN = "\u2191", "\u2193"
_CHECK, _OFF = "\u2713", "\u2717"
_SIGNIFICANT = 3


@dataclass(frozen=True)
class Cell:
    """`97.31` and ` +- 0.42`; most cells have only the first part."""

    value: str = ""
    spread: str = ""

    def __str__(self) -> str:
        return self.value + self.spread


@dataclass(frozen=True)
class Column:
    header: str
    align: Literal["left", "right", "center"]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Layout:
    """Every column has one cell per row of the table."""

    title: str
    columns: tuple[Column, ...]
    footnotes: tuple[str, ...]


def table_layout(table: AblationTable) -> Layout:
    """The table for people. Names and footnotes are as they came: escaping is the exporter's."""
    metric = table.metric
    arrow = _UP if metric.direction == "maximize" else _DOWN
    numbers = sources(table)
    columns = [
        _column(table, "variant", "left", lambda row: Cell(row.name)),
        *(_column(table, name, "center", _component(name)) for name in table.components),
        _column(table, "seeds", "right", _seeds),
        _column(
            table,
            f"{metric.name} ({metric.unit}) {arrow}",
            "right",
            lambda row: _summary(row.metrics.get(metric.name), metric.decimals),
        ),
        _column(table, _delta_header(table), "right", lambda row: _delta(row.delta, metric.decimals)),
        _column(table, "published", "right", lambda row: _published(row, metric.name, metric.decimals, numbers)),
        _number_column(table, "params (M)", lambda row: row.params_m, least=1, most=4),
        _number_column(table, "GMACs", lambda row: row.gmacs, least=1, most=5),
        _number_column(table, "train (s)", lambda row: row.train_seconds, least=0, most=1),
    ]
    always = {"variant", "seeds"}
    return Layout(
        title=table.sweep + (f" ({table.profile})" if table.profile else ""),
        columns=tuple(
            column for column in columns if column.header in always or any(str(cell) for cell in column.cells)
        ),
        footnotes=footnotes(table),
    )


def _column(
    table: AblationTable, header: str, align: Literal["left", "right", "center"], cell: Callable[[Row], Cell]
) -> Column:
    return Column(header, align, tuple(cell(row) for row in table.rows))


def _component(name: str) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        if name not in row.components:
            return Cell()
        return Cell(_CHECK if row.components[name] else _OFF)

    return cell


def _summary(summary: Summary | None, decimals: int) -> Cell:
    if summary is None:
        return Cell()
    spread = "" if summary.std is None else f" {PLUS_MINUS} {summary.std:.{decimals}f}"
    return Cell(_fixed(summary.mean, decimals), spread)


def _delta_header(table: AblationTable) -> str:
    has_interval = any(row.delta is not None and row.delta.low is not None for row in table.rows)
    return f"{DELTA} [95% CI]" if has_interval else DELTA


def _delta(delta: PairedDelta | None, decimals: int) -> Cell:
    if delta is None:
        return Cell()
    if delta.low is None or delta.high is None:
        return Cell(_signed(delta.mean, decimals))
    return Cell(_signed(delta.mean, decimals), f" [{_signed(delta.low, decimals)}, {_signed(delta.high, decimals)}]")


def _published(row: Row, metric: str, decimals: int, numbers: dict[str, int]) -> Cell:
    texts = [
        " ".join(
            [
                *([_fixed(there.values[metric], decimals)] if metric in there.values else []),
                f"[{numbers[there.source]}]",
            ]
        )
        for there in row.published
    ]
    return Cell(", ".join(texts))


def _number_column(
    table: AblationTable, header: str, value: Callable[[Row], float | None], *, least: int, most: int
) -> Column:
    values = [value(row) for row in table.rows]
    decimals = _decimals((number for number in values if number is not None), least=least, most=most)
    return Column(header, "right", tuple(Cell("" if number is None else _fixed(number, decimals)) for number in values))


def _seeds(row: Row) -> Cell:
    """`2/3` completed, and what became of the others: pruned at which epochs, failed. The rest is missing."""
    marks = ""
    if row.num_pruned:
        marks += f" {DAGGER}" + ",".join(map(str, sorted(set(row.pruned_epochs))))
    if row.num_failed:
        marks += " failed"
    if row.num_infeasible:
        marks += " infeasible"
    return Cell(f"{row.num_completed}/{row.num_planned}", marks)


def _decimals(values: Iterable[float], *, least: int, most: int) -> int:
    """The same for a whole column: three significant digits for its smallest value, within bounds."""
    sizes = [abs(value) for value in values if value and math.isfinite(value)]
    if not sizes:
        return least
    return max(least, min(most, _SIGNIFICANT - 1 - math.floor(math.log10(min(sizes)))))


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _signed(value: float, decimals: int) -> str:
    text = f"{value:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text
