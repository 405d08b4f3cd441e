"""The design of a plug-in, as a rule: its class is made with the options of the sweep, and its rows are checked.

The class has `candidates(sweep)`, an iterator over rows; `issues(sweep)` and `count(sweep)` (see `DesignRule`) are
optional. A row is a `CandidateRow`, or a mapping of path -> value. The first one is the reference of all differences.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from search_space.parsing.errors import Problem, SpecError
from search_space.parsing.type_guards import is_mapping
from search_space.plugins.contracts import member_failed, plugin_that_adds
from search_space.plugins.families import contributed
from search_space.schema.design import Design
from search_space.schema.sweep import Sweep
from search_space.settings.candidates import CandidateRow, Issue, PathValue
from search_space.settings.paths import is_path, path_hint

__all__ = ["PluginRule"]

_MOST_COUNTED = 200_000  # more than a sweep may have


class PluginRule:
    """Rule of a plug-in's design (`DesignRule`). What the plug-in raises is a `SpecError` with the line of its file."""

    def __init__(self, design: Design) -> None:
        self._name, self._options = design.name, design.options
        plugin = plugin_that_adds("design", design.name)
        self._origin = plugin.origin if plugin else ""

    def issues(self, sweep: Sweep) -> Iterator[Issue]:
        made = self._made()
        if hasattr(made, "issues"):
            yield from self._watched(made.issues, sweep)

    def candidates(self, sweep: Sweep) -> Iterator[CandidateRow]:
        is_empty = True
        for row in self._watched(self._made().candidates, sweep):
            is_empty = False
            yield self._row(row, sweep)
        if is_empty:
            raise SpecError(self._problem("gives no row", "the first row is the reference of all differences: {}"))

    def count(self, sweep: Sweep) -> int:
        """The plug-in's number, else that of its rows, up to more than a sweep may have."""
        made = self._made()
        if hasattr(made, "count"):
            return int(next(self._watched(self._counted, sweep)))
        return sum(1 for _ in itertools.islice(self.candidates(sweep), _MOST_COUNTED))

    def _counted(self, sweep: Sweep) -> Iterator[Any]:
        yield self._made().count(sweep)

    def _made(self) -> Any:
        try:
            return contributed("design")[self._name](**self._options)
        except SpecError:
            raise
        except Exception as err:
            raise SpecError(member_failed("design", self._name, err)) from err

    def _watched(self, method: Any, sweep: Sweep) -> Iterator[Any]:
        try:
            yield from method(sweep)
        except (SpecError, GeneratorExit):
            raise
        except Exception as err:
            raise SpecError(member_failed("design", self._name, err)) from err

    def _row(self, row: Any, sweep: Sweep) -> CandidateRow:
        if isinstance(row, CandidateRow):
            return row
        if not is_mapping(row):
            text = f"gives a row that is an object of {type(row).__name__}"
            raise SpecError(self._problem(text, "a row is a mapping of path -> value, or a CandidateRow"))
        for path in map(str, row):
            if not is_path(path):
                raise SpecError(self._problem(f"gives a row with the unknown path {path!r}", path_hint(path)))
        return CandidateRow(tuple(PathValue(str(path), str(path), value) for path, value in row.items()))

    def _problem(self, text: str, hint: str) -> Problem:
        return Problem(f"the design {self._name!r} {text}", where=self._origin, path="design", hint=hint)
