"""Order of a table's rows by one of its columns (`sort`), within each run; the baseline stays the first of its run.

The baseline is what the others are compared with, so a reader finds it in one place however the rest is ordered. Rows
without a value come last in both directions. Groups of one parameter are dissolved: the order is one of all rows.
"""

from __future__ import annotations

from dataclasses import replace

from results.layout.cells import Cell
from results.layout.columns import named_column
from results.table.table import AblationTable, Row
from search_space.schema.metrics import metric_named
from search_space.settings.table_columns import of_metric, sort_key

__all__ = ["in_order", "order_text"]


def in_order(table: AblationTable) -> AblationTable:
    """The table with its rows in the order that its format asks for; the same table without one."""
    if table.format.sort is None:
        return table
    column, _ = sort_key(table.format.sort)
    cells = dict(zip(map(id, table.rows), named_column(table, column).cells, strict=True))

    def value(row: Row) -> tuple[int, float, str]:
        cell = cells[id(row)]
        return (0, cell.sort_by, "") if cell.sort_by is not None else (1, 0.0, cell.value)

    rows: list[Row] = []
    for study in dict.fromkeys(row.study for row in table.rows):
        mine = [row for row in table.rows if row.study == study]
        arms = [row for row in mine if not row.is_baseline]
        rows += [row for row in mine if row.is_baseline]
        rows += sorted((row for row in arms if _has_value(cells[id(row)])), key=value, reverse=_is_descending(table))
        rows += [row for row in arms if not _has_value(cells[id(row)])]
    return replace(table, rows=tuple(rows))


def order_text(table: AblationTable) -> str:
    """What the order of the rows is; empty for that of the plan, or of a search."""
    if table.format.sort is None:
        return ""
    column, _ = sort_key(table.format.sort)
    ends = "descending" if _is_descending(table) else "ascending"
    first = ", below the baseline" if table.baseline is not None else ""
    return f"sorted by {column}, {ends}{first}"


def _is_descending(table: AblationTable) -> bool:
    """As the format says; without a direction the best comes first, or the smallest."""
    column, direction = sort_key(table.format.sort or "")
    if direction:
        return direction == "desc"
    if within := table.within_block(column):
        column, _ = within
    _, other = of_metric(column) or ("", column)
    metric = table.metric if column == "delta" else metric_named(other)
    return metric is not None and metric.direction == "maximize"


def _has_value(cell: Cell) -> bool:
    return cell.sort_by is not None or bool(cell.value)
