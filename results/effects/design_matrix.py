"""The design matrix of a table: the level of every factor in every variant, and the coded columns of terms.

A factor is a component, or a path of the baseline that some row changes; where a row does not change it, it has
the baseline's level. Columns are deviation-coded (sum to zero over the levels), so main effects and interactions of a
balanced design are orthogonal; a factor of two levels has the one column -1, +1.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from results.table.table import AblationTable, Row
from search_space.parsing.errors import Problem, SpecError

__all__ = ["Design", "Term", "design_of", "level_coding", "term_columns", "term_name"]

Term = tuple[str, ...]
"""One factor (main effect) or two (interaction)."""
_BASELINE = "baseline"


@dataclass(frozen=True)
class Design:
    """The factors of a study and the level of each in every variant.

    Attributes:
        levels: factor -> its levels, the baseline's first (`off` for components).
        runs: variant id -> factor -> index of its level.
    """

    levels: Mapping[str, tuple[str, ...]]
    runs: Mapping[str, Mapping[str, int]]

    @property
    def terms(self) -> tuple[Term, ...]:
        """Main effects, then two-way interactions."""
        return (*((name,) for name in self.levels), *itertools.combinations(self.levels, 2))


def design_of(table: AblationTable, rows: Sequence[Row] | None = None) -> Design:
    """The design of the rows of the table.

    Args:
        rows: those that count, so that levels of the others do not exist; default: all.

    Raises:
        SpecError: no factor has two levels.
    """
    rows = table.rows if rows is None else rows
    is_components = bool(table.components) and all(set(row.components) == set(table.components) for row in table.rows)
    if is_components:
        settings = {row.variant_id: {n: ("off", "on")[row.components[n]] for n in table.components} for row in rows}
        levels = dict.fromkeys(table.components, ("off", "on"))
    else:
        paths = list(dict.fromkeys(path for row in table.rows for path in row.changes))
        spec = next((record.spec for row in table.rows if row.is_baseline for record in row.records), {})
        base = {path: _label(_value_at(spec, path)) for path in paths}
        settings = {
            row.variant_id: {path: _label(row.changes[path]) if path in row.changes else base[path] for path in paths}
            for row in rows
        }
        levels = {
            path: tuple(dict.fromkeys([base[path], *(setting[path] for setting in settings.values())]))
            for path in paths
        }
    seen = {name: {setting[name] for setting in settings.values()} for name in levels}
    levels = {
        name: tuple(level for level in found if level in seen[name])
        for name, found in levels.items()
        if len(seen[name]) > 1
    }
    if not levels:
        all_seeds = f" among the variants that have all seeds ({len(rows)} of {len(table.rows)})"
        among = "" if rows is table.rows else all_seeds
        message = f"no factor has two levels{among}: there are no effects to estimate"
        raise SpecError(Problem(message, where=table.sweep))
    runs = {
        key: {name: found.index(setting[name]) for name, found in levels.items()} for key, setting in settings.items()
    }
    return Design(levels, runs)


def term_columns(design: Design, term: Term, variants: list[str]) -> np.ndarray:
    """The deviation-coded columns of the term, one row per variant given."""
    columns = np.ones((len(variants), 1))
    for name in term:
        mine = level_coding(len(design.levels[name]))[[design.runs[key][name] for key in variants]]
        columns = (columns[:, :, None] * mine[:, None, :]).reshape(len(variants), columns.shape[1] * mine.shape[1])
    return columns


def level_coding(count: int) -> np.ndarray:
    """Deviation coding, one row per level: the first is -1 in all columns, every other 1 in its own."""
    return np.vstack([-np.ones(count - 1), np.eye(count - 1)])


def term_name(term: Term) -> str:
    """`expansion` or `expansion : dla`."""
    return " : ".join(term)


def _label(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _value_at(spec: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(spec, Mapping) or key not in spec:
            return _BASELINE
        spec = spec[key]
    return spec["name"] if isinstance(spec, Mapping) and set(spec) == {"name"} else spec
