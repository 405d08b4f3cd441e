"""List design: explicit variants, as in the table of a paper."""

from __future__ import annotations

from collections.abc import Iterator

from search_space.schema.design import Row
from search_space.schema.sweep import Sweep
from search_space.settings.building import build_setting
from search_space.settings.candidates import CandidateRow, Issue, PathValue
from search_space.settings.paths import outer_first

__all__ = ["List"]


class List:
    """Design `{name: list, rows: [{arch.depth: 4, name: shallow}, ...]}`; the baseline comes first."""

    def issues(self, sweep: Sweep) -> Iterator[Issue]:
        if sweep.space:
            message = "`space` has no effect in the design 'list', whose rows are listed below `design`"
            yield Issue(("space",), message, "remove it, or choose another design")
        if not sweep.design.rows:
            hint = "design: {name: list, rows: [{arch.depth: 4}, {arch.depth: 6, name: deep}]}"
            yield Issue(("design",), "the design 'list' needs `rows`", hint)
        labels: set[str] = set()
        for index, row in enumerate(sweep.design.rows):
            if row.name in labels:
                yield Issue(("design", "rows", index, "name"), f"the label {row.name!r} is given twice")
            labels |= {row.name} if row.name else set()

    def candidates(self, sweep: Sweep) -> Iterator[CandidateRow]:
        rows = [CandidateRow(_values(row), name=row.name) for row in sweep.design.rows]
        same = (row.name for row in rows if row.name and build_setting(sweep, row) == sweep.baseline)
        yield CandidateRow(name=next(same, None))  # the baseline takes the label of a row that equals it
        yield from rows

    def count(self, sweep: Sweep) -> int:
        return 1 + len(sweep.design.rows)


def _values(row: Row) -> tuple[PathValue, ...]:
    return tuple(PathValue(path, path, row.changes[path], is_stated=True) for path in outer_first(row.changes))
