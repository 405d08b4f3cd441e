"""Options of a reader laid over the format that the sweep gave its table: by `archsweep table` and from Python.

They choose and name columns, order rows and set digits; no number depends on them. Each option replaces what the sweep
says by itself; `rename` and `digits` name by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from results.table.table import AblationTable
from search_space.parsing.errors import Problem
from search_space.settings.table_columns import LEGAL_METRICS, is_left_out, table_issues

__all__ = ["TableOptions", "option_problems", "with_options"]


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """What `table:` of a sweep holds (docs/sweep_format.md); None and empty: as the sweep says."""

    columns: tuple[str, ...] | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    digits: Mapping[str, int] = field(default_factory=dict)
    sort: str | None = None
    label: str | None = None
    caption: str | None = None
    transpose: bool | None = None


@dataclass(frozen=True)
class _Chosen:
    """The options for the check of their names. `rename` and `digits` are those of the reader alone."""

    columns: tuple[str, ...]
    rename: dict[str, str]
    digits: dict[str, int]
    sort: str | None
    label: str | None
    caption: str | None


def option_problems(table: AblationTable, options: TableOptions, *, prefix: str = "") -> Iterator[Problem]:
    """Names that are no columns of the table, and orders that it does not have.

    Args:
        prefix: of an option in the messages: `--` on the command line.
    """
    chosen = _chosen(table, options)
    given = options.columns or None
    measured = {table.metric.name, *(name for row in table.rows for name in row.metrics)}
    has_results = any(row.metrics for row in table.rows)
    for issue in table_issues(
        chosen,
        metrics=measured,
        components=table.components,
        paths={path for row in table.rows for path in row.changes},
        legal_metrics=measured if has_results and given else LEGAL_METRICS,
        blocks=table.blocks.names if table.blocks else (),
    ):
        yield Problem(issue.message, where=f"{prefix}{issue.path[0]}", hint=issue.hint)


def with_options(table: AblationTable, options: TableOptions) -> AblationTable:
    """The table with the options in place of the sweep's; they must have no problems."""
    chosen, stored = _chosen(table, options), table.format
    fits = {name: text for name, text in stored.rename.items() if not is_left_out(name, chosen.columns)}
    update = {
        "columns": chosen.columns,
        "rename": fits | chosen.rename,
        "digits": stored.digits | chosen.digits,
        "sort": chosen.sort,
        "label": chosen.label,
        "caption": chosen.caption,
        "transpose": stored.transpose if options.transpose is None else options.transpose,
    }
    return replace(table, format=stored.model_copy(update=update), csv_columns=options.columns or ())


def _chosen(table: AblationTable, options: TableOptions) -> _Chosen:
    stored = table.format
    sort, label, caption = (
        getattr(stored, name) if (value := getattr(options, name)) is None else value
        for name in ("sort", "label", "caption")
    )
    columns = options.columns or stored.columns
    return _Chosen(columns, dict(options.rename), dict(options.digits), sort, label, caption)
