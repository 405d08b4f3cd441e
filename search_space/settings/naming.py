"""Variant names: the difference between two settings, with short parameter names.

Settings are compared by content: `refiner` and `{name: refiner, expansion: 3.0}` are the same attention.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Set
from typing import Any

from pydantic import BaseModel

from search_space.parsing.type_guards import is_dict, is_list_or_tuple, is_tuple
from search_space.schema.parameters import Choice, Component, Parameter, Range
from search_space.schema.sweep import Sweep
from search_space.schema.trial import Setting
from search_space.settings.paths import MISSING, is_path, known_paths, split, value_at

__all__ = ["Names", "describe_parameter", "difference", "format_value", "touched_paths"]


def difference(reference: Setting, setting: Setting, path: str, stated: Set[str] = frozenset()) -> dict[str, Any]:
    """Values at and below `path` that differ from the reference, as a mapping of paths to JSON values.

    A changed mechanism is represented by its name and those options that are not at their defaults, or `stated`.
    """
    return _difference(value_at(reference, path), value_at(setting, path), path, stated)


def format_value(value: Any) -> str:
    """Format a value for a variant name: `6`, `0.001`, `refiner`, `[3,5,7]`, `{last: 2}`."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, str):
        plain = value and not set(value) & set(",={}[]\"'#\n") and value.strip() == value
        return value if plain else json.dumps(value)
    if is_list_or_tuple(value):
        return f"[{','.join(map(format_value, value))}]"
    if is_dict(value):
        return "{" + ", ".join(f"{key}: {format_value(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


def describe_parameter(parameter: Parameter) -> str:
    """One-line form of a parameter: `softmax | refiner (expansion: 1 | 2)`, `1 .. 4 step 0.5`, `off: 0 | on: 0.2`."""
    if isinstance(parameter, Range):
        step = f" step {format_value(parameter.step)}" if parameter.step is not None else ""
        return f"{parameter.min} .. {parameter.max}{step}{' log' if parameter.log else ''}"
    if isinstance(parameter, Component):
        placebo = " | its placebo" if parameter.placebo else ""
        return f"off: {format_value(parameter.off)} | on: {format_value(parameter.on)}{placebo}"
    return " | ".join(map(_describe_choice, parameter))


def _describe_choice(choice: Choice) -> str:
    shown = choice.name or format_value(choice.value)
    inner = "; ".join(f"{path}: {describe_parameter(below)}" for path, below in choice.with_.items())
    return f"{shown} ({inner})" if inner else shown


class Names:
    """Short names of a sweep's parameters: the shortest suffix of a path that is unique among the sweep's paths."""

    def __init__(self, sweep: Sweep) -> None:
        universe = touched_paths(sweep)
        universe |= {known for path in universe for known in known_paths() if known.startswith(path + ".")}
        self._taken = Counter(suffix for path in universe for suffix in _suffixes(path))

    def short(self, path: str) -> str:
        """Short name of a path; the free name of a component is unchanged."""
        if not is_path(path):
            return path
        return next((suffix for suffix in _suffixes(path) if self._taken[suffix] <= 1), path)

    def text(self, path: str, value: Any) -> str:
        return f"{self.short(path)}={format_value(value)}"


def touched_paths(sweep: Sweep, *, with_match: bool = True) -> set[str]:
    """All paths that the sweep varies."""
    touched: set[str] = {sweep.match.by} if sweep.match and with_match else set()
    for key, parameter in sweep.space.items():
        if is_path(key):
            touched |= {key} | _conditional_paths(key, parameter)
        elif isinstance(parameter, Component):
            for side in (parameter.off, parameter.on):
                touched |= set(side) if is_dict(side) else set()
    for row in sweep.design.rows:
        touched |= set(row.changes)
    return touched


def _conditional_paths(path: str, parameter: Parameter) -> set[str]:
    found: set[str] = set()
    for choice in parameter if isinstance(parameter, tuple) else ():
        assert isinstance(choice, Choice)
        for relative, inner in choice.with_.items():
            found |= {f"{path}.{relative}"} | _conditional_paths(f"{path}.{relative}", inner)
    return found


def _suffixes(path: str) -> list[str]:
    keys = split(path)
    return [".".join(keys[start:]) for start in range(len(keys) - 1, -1, -1)]


def _difference(before: Any, after: Any, path: str, stated: Set[str]) -> dict[str, Any]:
    if isinstance(after, BaseModel):
        kind = getattr(after, "name", None)
        if type(before) is type(after) and kind == getattr(before, "name", None):
            pairs = [(name, getattr(before, name), getattr(after, name)) for name in type(after).model_fields]
            return _merge(_difference(old, new, f"{path}.{name}", stated) for name, old, new in pairs)
        if kind is None:
            return {path: after.model_dump(mode="json")}
        options = {name: value for name, value in after.model_dump(mode="json").items() if name != "name"}
        defaults = {name: info.get_default() for name, info in type(after).model_fields.items()}
        shown = {
            f"{path}.{name}": value
            for name, value in options.items()
            if getattr(after, name) != defaults[name] or f"{path}.{name}" in stated
        }
        return {path: kind, **shown}
    if is_dict(before) and is_dict(after):
        keys = [*after, *(key for key in before if key not in after)]
        return _merge(_difference(before.get(key), after.get(key), f"{path}.{key}", stated) for key in keys)
    if after is MISSING or (type(before) is type(after) and before == after):
        return {}
    return {path: list(after) if is_tuple(after) else after}


def _merge(parts: Any) -> dict[str, Any]:
    return {path: value for part in parts for path, value in part.items()}
