"""Layout of an ablation table for readers: columns, their order, decimals. Used by all exporters but CSV.

Formatting is only here, so that two formats cannot show different numbers. Columns without any content are left out (a
search has no differences). A cell has parts, so that a terminal can align them and omit the least important ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from results.layout.caption import DELTA, PLUS_MINUS, Sentence, caption, significance_stars
from results.layout.footnotes import DAGGER, DOUBLE_DAGGER, footnotes, sources
from results.stats.numbers import fixed, level_percent, shared_decimals, signed, signed_percent
from results.stats.paired import PairedDelta, Summary
from results.stats.verdicts import TESTED
from results.table.comparison import emphasis
from results.table.table import AblationTable, Row, Study
from search_space.schema.metrics import METRICS, Metric

__all__ = ["CHECK", "CROSS", "DOWN", "UP", "VERDICT", "Cell", "Column", "Group", "Layout", "table_layout"]

UP, DOWN = "\u2191", "\u2193"
VERDICT = "verdict"
CHECK, CROSS = "\u2713", "\u2717"
_MARKS = {"equivalent": " =", "unequal budget": f" {DOUBLE_DAGGER}"}
_MOST_DECIMALS = 12
_Align = Literal["left", "right", "center"]


@dataclass(frozen=True)
class Cell:
    """Cell with the parts `97.31`, ` +- 0.42` and ` (+3 %)`; most have only the first. `sort_by`: unrounded value."""

    value: str = ""
    spread: str = ""
    change: str = ""
    emphasis: Literal["", "bold", "underline"] = ""
    sort_by: float | None = None

    def __str__(self) -> str:
        return self.value + self.spread + self.change


@dataclass(frozen=True)
class Column:
    """One column of the layout.

    Attributes:
        drop_priority: columns with 1 are dropped first where the width is insufficient, then 2; 0 is kept.
        is_name: header and cells are user text.
    """

    header: str
    align: _Align
    cells: tuple[Cell, ...]
    drop_priority: int = 0
    is_name: bool = False


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
        caption: meaning of the numbers.
        footnotes: notes on these rows.
    """

    title: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    caption: tuple[Sentence, ...]
    footnotes: tuple[str, ...]

    def notes(self, *, without: Collection[str] = ()) -> tuple[str, ...]:
        """Caption and footnotes, without sentences about parts that the format does not show."""
        return (*(sentence.text for sentence in self.caption if sentence.refers_to not in without), *self.footnotes)


def table_layout(table: AblationTable) -> Layout:
    """Layout of the table. Names and footnotes are not escaped: that is the exporter's task."""
    metric = table.metric
    arrow = UP if metric.direction == "maximize" else DOWN
    numbers = sources(table)
    # Per run, because two runs may share a variant.
    marks: dict[tuple[str, str], Literal["", "bold", "underline"]] = {
        (row.study, row.variant_id): mark
        for part in table.parts
        for key, mark in emphasis(part.rows, metric).items()
        for row in part.rows
        if row.variant_id == key
    }

    def value(row: Row) -> Cell:
        return _summary(row.metrics.get(metric.name), metric.decimals, marks.get((row.study, row.variant_id), ""))

    columns = [
        _column(table, "variant", "left", lambda row: Cell(row.name), is_name=True),
        *(_column(table, name, "center", _component(name), is_name=True) for name in table.components),
        _column(table, "front", "right", _front),
        _column(table, "seeds", "right", _seeds),
        _column(table, f"{metric.name} ({metric.unit}) {arrow}", "right", value),
        _column(table, _delta_header(table), "right", lambda row: _delta(row, metric.decimals, table.analysis.alpha)),
        _column(table, f"SD {DELTA}", "right", lambda row: _delta_std(row, metric.decimals), drop_priority=1),
        _column(table, VERDICT, "left", lambda row: _verdict(row, table.analysis.correction), drop_priority=2),
        *(_objective_column(table, METRICS[name]) for name in _further_objectives(table)),
        *(_probe_column(table, probe) for probe in METRICS.values() if probe.direction is None),
        _column(table, "published", "right", lambda row: _published(row, metric.name, metric.decimals, numbers)),
        _cost_column(table, "params (M)", "params_m", least=1, most=4),
        _cost_column(table, "GMACs", "gmacs", least=1, most=5),
        _cost_column(table, "train (s)", "train_seconds", least=0, most=1),
    ]
    return Layout(
        title=table.sweep + (f" ({table.profile})" if table.profile else ""),
        columns=tuple(column for column in columns if _is_shown(column, table)),
        groups=_groups(table),
        caption=caption(table),
        footnotes=footnotes(table),
    )


def _column(
    table: AblationTable,
    header: str,
    align: _Align,
    cell: Callable[[Row], Cell],
    *,
    drop_priority: int = 0,
    is_name: bool = False,
) -> Column:
    return Column(header, align, tuple(cell(row) for row in table.rows), drop_priority, is_name)


def _is_shown(column: Column, table: AblationTable) -> bool:
    if column.header == VERDICT and not column.is_name:
        # Incomplete rows are already visible in the seeds column; the verdict column is for the other verdicts.
        return any(row.verdict in TESTED or row.verdict == "unequal budget" for row in table.rows)
    return column.is_name or column.header == "seeds" or any(str(cell) for cell in column.cells)


def _groups(table: AblationTable) -> tuple[Group, ...]:
    """Groups by study; in `one_factor` by varied parameter; else a single group."""
    studies = {study.name: study for study in table.studies}
    designs = {row.study: studies[row.study].design if table.studies else table.design for row in table.rows}

    def parameter(row: Row) -> tuple[str, str]:
        is_sole = designs[row.study] == "one_factor" and not row.is_baseline
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


def _component(name: str) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        if name not in row.components:
            return Cell()
        return Cell(CHECK if row.components[name] else CROSS, sort_by=float(row.components[name]))

    return cell


def _summary(summary: Summary | None, decimals: int, mark: Literal["", "bold", "underline"]) -> Cell:
    if summary is None:
        return Cell()
    spread = "" if summary.std is None else f" {PLUS_MINUS} {summary.std:.{decimals}f}"
    return Cell(fixed(summary.mean, decimals), spread, emphasis=mark, sort_by=summary.mean)


def _delta_header(table: AblationTable) -> str:
    has_interval = any(row.delta is not None and row.delta.low is not None for row in table.rows)
    if not has_interval:
        return DELTA
    return f"{DELTA} [{level_percent(table.analysis.alpha)}% CI over seeds, {table.analysis.interval}]"


def _delta(row: Row, decimals: int, alpha: float) -> Cell:
    delta = row.delta
    if delta is None:
        return Cell()
    spread = ""
    if significance_stars(row.p_corrected, alpha):
        decimals = _enough_decimals(delta, decimals)
    if delta.low is not None and delta.high is not None:
        # The stars come last, so that digits stay aligned.
        spread = f" [{signed(delta.low, decimals)}, {signed(delta.high, decimals)}]"
        spread += significance_stars(row.p_corrected, alpha)
    if delta.num_pairs < row.num_planned:
        spread += f" ({delta.num_pairs} pair{'s'[: delta.num_pairs - 1]})"
    spread += _MARKS.get(row.verdict or "", "")
    return Cell(signed(delta.mean, decimals), spread, sort_by=delta.mean)


def _enough_decimals(delta: PairedDelta, decimals: int) -> int:
    """Decimals with which no number of a claim is printed as zero: `+0.0000 [0.0000, 0.0000]*` claims nothing."""
    sizes = [abs(value) for value in (delta.mean, delta.low, delta.high) if value]
    if not sizes or min(sizes) >= 0.5 * 10.0**-decimals:
        return decimals
    return min(_MOST_DECIMALS, shared_decimals(sizes, least=decimals, most=_MOST_DECIMALS))


def _verdict(row: Row, correction: str) -> Cell:
    """A claim under the false discovery rate is a weaker one: some of several are expected to be false."""
    is_claim = row.verdict in ("better", "worse", "equivalent")
    notes = ["FDR"] * (is_claim and correction == "bh") + ["exploratory"] * (
        row.is_exploratory and row.verdict in TESTED
    )
    return Cell(f"{row.verdict} ({', '.join(notes)})" if notes else row.verdict or "")


def _delta_std(row: Row, decimals: int) -> Cell:
    if row.delta is None or row.delta.std is None:
        return Cell()
    return Cell(fixed(row.delta.std, decimals), sort_by=row.delta.std)


def _published(row: Row, metric: str, decimals: int, numbers: dict[str, int]) -> Cell:
    texts = [
        " ".join(
            [
                *([fixed(there.values[metric], decimals)] if metric in there.values else []),
                f"[{numbers[there.source]}]",
            ]
        )
        for there in row.published
    ]
    first = next((there.values[metric] for there in row.published if metric in there.values), None)
    return Cell(", ".join(texts), sort_by=first)


def _probe_column(table: AblationTable, probe: Metric) -> Column:
    """Column of a probe, which describes the model without a ranking: no arrow, difference or emphasis."""

    def cell(row: Row) -> Cell:
        return _summary(row.metrics.get(probe.name), probe.decimals, "")

    return _column(table, f"{probe.name} ({probe.unit})", "right", cell)


def _cost_column(table: AblationTable, header: str, cost: str, *, least: int, most: int) -> Column:
    values: list[float | None] = [getattr(row, cost) for row in table.rows]
    decimals = shared_decimals((number for number in values if number is not None), least=least, most=most)

    def cell(row: Row) -> Cell:
        number = getattr(row, cost)
        if number is None:
            return Cell()
        change = f" ({signed_percent(row.cost_changes[cost])})" if cost in row.cost_changes else ""
        return Cell(fixed(number, decimals), change=change, sort_by=number)

    return _column(table, header, "right", cell)


def _front(row: Row) -> Cell:
    return Cell() if row.front is None else Cell(str(row.front), sort_by=float(row.front))


def _further_objectives(table: AblationTable) -> list[str]:
    """Objectives of the search besides the table's metric; costs have their own columns."""
    names = [name.removeprefix("val_") for name in table.objectives]
    return [name for name in names if name in METRICS and name != table.metric.name]


def _objective_column(table: AblationTable, metric: Metric) -> Column:
    header = f"{metric.name} ({metric.unit}) {UP if metric.direction == 'maximize' else DOWN}"
    return _column(table, header, "right", lambda row: _summary(row.metrics.get(metric.name), metric.decimals, ""))


def _seeds(row: Row) -> Cell:
    """Cell of the seeds: `2/3` completed, and marks for pruned (with epochs) and failed ones; the rest is missing."""
    marks = ""
    if row.num_pruned:
        marks += f" {DAGGER}" + ",".join(map(str, sorted(set(row.pruned_epochs))))
    if row.num_failed:
        marks += " failed"
    if row.num_infeasible:
        marks += " infeasible"
    return Cell(f"{row.num_completed}/{row.num_planned}", marks, sort_by=float(row.num_completed))
