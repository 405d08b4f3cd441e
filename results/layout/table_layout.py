"""Layout of an ablation table for readers: columns, groups of rows, caption and notes. Used by all exporters but CSV.

Columns without any content are left out (a search has no differences), unless `AblationTable.format` names them. What
is said about a column goes with it; what guards the others against a misreading stays.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import groupby

from results.layout.caption import Sentence, caption
from results.layout.cells import Cell
from results.layout.columns import Column, default_columns, named_column, of_every_class
from results.layout.footnotes import footnotes
from results.layout.format_notes import format_sentences
from results.layout.majority import majority_notes
from results.layout.row_order import in_order, order_text
from results.table.table import AblationTable, Row, Study

__all__ = ["Group", "Layout", "table_layout"]


@dataclass(frozen=True)
class Group:
    """Group of rows from `start` to `stop` (exclusive); the title is empty where the names suffice."""

    title: str
    start: int
    stop: int


@dataclass(frozen=True)
class Layout:
    """Layout of a table: every column has one cell per row; the groups cover all rows in order.

    Attributes:
        name: name of the sweep, with its profile.
        title: the caption that its user wrote (`has_caption`), else the name.
        caption: meaning of the numbers.
        footnotes: notes on these rows.
        label: label of a LaTeX table; empty: none.
        is_transposed: the columns are variants, and the rows what is known of each.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    caption: tuple[Sentence, ...]
    footnotes: tuple[str, ...]
    has_caption: bool = False
    label: str = ""
    is_transposed: bool = False

    def notes(self, *, without: Collection[str] = ()) -> tuple[str, ...]:
        """Caption and footnotes, without sentences about parts that the format does not show."""
        return (*(sentence.text for sentence in self.caption if sentence.refers_to not in without), *self.footnotes)


def table_layout(table: AblationTable, *, hidden: Collection[str] = ()) -> Layout:
    """Layout of the table. Names and footnotes are not escaped: that is the exporter's task.

    Args:
        hidden: columns that a medium has no room for, by name; what is said about them goes, too.
    """
    table = in_order(table)
    chosen = of_every_class(table, table.format.columns)
    columns = tuple(named_column(table, name) for name in chosen) if chosen else default_columns(table)
    columns = tuple(column for column in columns if column.name not in hidden)
    shown = frozenset(column.name for column in columns) if chosen or hidden else None
    name = table.sweep + (f" ({table.profile})" if table.profile else "")
    layout = Layout(
        name=name,
        title=table.format.caption or name,
        columns=columns,
        groups=_groups(table),
        caption=(*caption(table, shown), *format_sentences(table, columns)),
        footnotes=(
            *footnotes(table, shown, order=order_text(table)),
            *majority_notes(table, [column.name for column in columns]),
        ),
        has_caption=table.format.caption is not None,
        label=table.format.label or "",
    )
    return _transposed(layout, table) if table.format.transpose else layout


def _transposed(layout: Layout, table: AblationTable) -> Layout:
    """The layout with a column for every row; names head the columns, with the run's where there are several."""
    names = next((column for column in layout.columns if column.name == "variant"), layout.columns[0])
    rest = [column for column in layout.columns if column is not names]
    heads = Column("", names.title, "left", tuple(Cell(column.header) for column in rest), is_name=True)
    variants = tuple(
        Column(
            row.variant_id,
            f"{row.study}: {cell.value}" if row.study else cell.value,
            "right",
            tuple(column.cells[index] for column in rest),
            drop_priority=0 if index == 0 else len(table.rows) - index,  # the last go first
            is_name=True,
        )
        for index, (row, cell) in enumerate(zip(table.rows, names.cells, strict=True))
    )
    # What the titles of the groups say of the runs.
    particulars = tuple(f"{_study_title(study)}." for study in table.studies if study.particulars)
    return replace(
        layout,
        columns=(heads, *variants),
        groups=(Group("", 0, len(rest)),),
        footnotes=(*particulars, *layout.footnotes),
        is_transposed=True,
    )


def _groups(table: AblationTable) -> tuple[Group, ...]:
    """Groups by study; in `one_factor` by varied parameter; else a single group."""
    studies = {study.name: study for study in table.studies}
    designs = {row.study: studies[row.study].design if table.studies else table.design for row in table.rows}

    is_sorted = table.format.sort is not None  # an order of all rows of a run leaves no groups within it

    def parameter(row: Row) -> tuple[str, str]:
        is_sole = designs[row.study] == "one_factor" and not row.is_baseline and not is_sorted
        return row.study, next(iter(row.changes), "") if is_sole else ""

    parameters = {parameter(row) for row in table.rows if not row.is_baseline}
    if len(parameters) <= 1 and not table.studies:
        return (Group("", 0, len(table.rows)),)
    # A run that varies one parameter needs no groups.
    several = {study for study in designs if not table.studies or sum(study == name for name, _ in parameters) > 1}
    found: list[Group] = []
    for (study, _), rows in groupby(
        table.rows, lambda row: parameter(row) if row.study in several else (row.study, "")
    ):
        start = found[-1].stop if found else 0
        is_new = bool(study) and (start == 0 or table.rows[start - 1].study != study)
        title = _study_title(studies[study]) if study in studies else study
        found.append(Group(title if is_new else "", start, start + len(list(rows))))
    return tuple(found)


def _study_title(study: Study) -> str:
    return f"{study.name} ({study.particulars})" if study.particulars else study.name
