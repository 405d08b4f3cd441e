"""Values of a path of the settings in a trial or in a row of the table, as `trials.csv` and tables show them.

A variant's `changes` come first, because they hold what was written; everything else is read from the trained setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from results.table.table import AblationTable, Row
from search_space.settings.naming import format_value
from search_space.settings.paths import MISSING, OPEN_NODES, is_path, lay, value_at

__all__ = ["Shown", "value_in_row", "value_of", "values_in_blocks"]


@dataclass(frozen=True)
class Shown:
    """A value as text; `number` where it is one, for sorting."""

    text: str
    number: float | None = None


def value_of(path: str, changes: Mapping[str, Any], spec: Mapping[str, Any]) -> Any:
    """Value of a path, as `changes` has it: an attention is its name, its options have their own paths.

    `default` where the model decides, because an empty cell is lost when rows are grouped by it; None where the
    setting has no such path.
    """
    if path in changes:
        return changes[path]
    found = value_at(spec, path)
    if isinstance(found, Mapping) and "name" in found:
        return found["name"]
    is_left_out = found is MISSING and path.startswith(tuple(f"{node}." for node in OPEN_NODES))
    return "default" if found is None or is_left_out else None if found is MISSING else found


def _written_value(table: AblationTable, row: Row, path: str, block: str = "") -> Any:
    """The same for a row of a table: of one without a trial so far from the baseline and the row's changes.

    Args:
        block: the block in which it is asked for; needed where the blocks differ in the path.
    """
    here = row.cells.get(block, row)
    if here.records:
        spec = here.records[0].spec
    else:
        base = next((one for one in table.rows if one.is_baseline and one.study in (row.study, "")), None)
        base = base.cells.get(block, base) if base else None
        spec = base.records[0].spec if base and base.records else {}
        for changed, value in row.changes.items():
            spec = lay(spec, changed, value) if is_path(changed) else spec
    return value_of(path, row.changes, spec)


def value_in_row(table: AblationTable, row: Row, path: str) -> Shown:
    """That value for readers: a mechanism is its name, with the options that were written. Of a row over blocks that
    differ in it, the values of all of them."""
    shown = list(dict.fromkeys(_shown(_written_value(table, row, path, block)) for block in row.cells))
    return shown[0] if len(shown) == 1 else Shown(", ".join(each.text for each in shown if each.text))


def values_in_blocks(table: AblationTable, row: Row, path: str) -> Any:
    """That value for programs; of a row over blocks that differ in it, a list with the value of each."""
    values = [_written_value(table, row, path, block) for block in row.cells]
    return values[0] if all(value == values[0] for value in values) else values


def _shown(value: Any) -> Shown:
    if isinstance(value, Mapping) and "name" in value:
        options = ", ".join(f"{key}={format_value(inner)}" for key, inner in value.items() if key != "name")
        return Shown(f"{value['name']} ({options})" if options else str(value["name"]))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Shown(format_value(value), float(value))
    return Shown("" if value is None else value if isinstance(value, str) else format_value(value))
