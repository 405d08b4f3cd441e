"""Matching of published rows of a paper to variants of the table.

A published row belongs to the variant with the same changes. Values equal to the baseline's are not changes, so
`when: {arch.attention.expansion: 1}` matches the baseline of a sweep that starts from expansion 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from results.store.records import PublishedRow

__all__ = ["belongs_to"]


def belongs_to(row: PublishedRow, changes: Mapping[str, Any], baseline_spec: Mapping[str, Any]) -> bool:
    """True if the published row describes the variant with these changes.

    Args:
        baseline_spec: the baseline's TrialSpec as JSON; if empty (unknown), paths are compared as written.
    """
    return _differences(row.when, baseline_spec) == _differences(changes, baseline_spec)


def _differences(values: Mapping[str, Any], baseline_spec: Mapping[str, Any]) -> dict[str, Any]:
    plain = {path: _plain(value) for path, value in values.items()}
    return {path: value for path, value in plain.items() if value != _plain(_value_at(baseline_spec, path))}


def _value_at(spec: Mapping[str, Any], path: str) -> Any:
    """Value at a dotted path; an object unequal to any other where the path does not exist."""
    node: Any = spec
    for key in path.split("."):
        if not isinstance(node, Mapping) or key not in node:
            return object()
        node = node[key]
    return node


def _plain(value: Any) -> Any:
    """Canonical form of equivalent values: 6 and 6.0, [3, 5] and (3, 5), `refiner` and {name: refiner}.

    True and 1 stay different, although they are equal in Python.
    """
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, Mapping):
        if set(value) == {"name"}:
            return _plain(value["name"])
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
