"""Matching of published rows of a paper to variants of the table.

A published row belongs to the variant whose setting it describes: `when` is laid over the baseline like any other
value, and settings are compared, not spellings. `{arch.attention: {name: refiner, expansion: 1}}` is
`{arch.attention: refiner, arch.attention.expansion: 1}`, and values equal to the baseline's change nothing.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from results.plan.comparison import PublishedRow
from search_space.schema.identity import variant_id
from search_space.schema.trial import VIT_DEFAULTS, Setting
from search_space.settings.paths import is_path, lay, lay_together, value_at

__all__ = ["belongs_to"]


def belongs_to(row: PublishedRow, changes: Mapping[str, Any], baseline_spec: Mapping[str, Any]) -> bool:
    """True if the published row describes the variant with these changes.

    Args:
        baseline_spec: the baseline's TrialSpec as JSON; if it is empty (unknown), or has no place for the values, paths
            are compared as written.
    """
    base = json.dumps(dict(baseline_spec), sort_keys=True)
    described, ours = _settings(base, json.dumps(row.when)), _settings(base, json.dumps(dict(changes)))
    if not baseline_spec or not (described or ours):
        return _plain(row.when) == _plain(changes)
    return bool(described & ours)


@functools.lru_cache(maxsize=4096)
def _settings(baseline_json: str, values_json: str) -> frozenset[str]:
    """Ids of the settings that values over a baseline may mean; empty if they make none.

    A stored baseline no longer says which of its values were written. Those that a `vit` without them has anyway are
    taken as written, and as left out: `class_token: false` then brings its own `global_pool`.
    """
    spec: dict[str, Any] = json.loads(baseline_json)
    values: dict[str, Any] = json.loads(values_json)
    written = {root: spec.get(root, {}) for root in ("arch", "task", "train")}
    if not all(map(is_path, values)):
        return frozenset()
    found: set[str] = set()
    for data in (written, {**written, "arch": _without_implied(written["arch"])}):
        laid = _without_nulls(lay_together(data, values))
        try:
            found.add(variant_id(Setting.model_validate(_whole(laid), strict=True)))
        except ValidationError:  # options of another mechanism than the baseline's, say
            continue
    return frozenset(found)


def _without_implied(arch: Mapping[str, Any]) -> dict[str, Any]:
    implied = dict(VIT_DEFAULTS)
    if arch.get("class_token") is False:
        implied["global_pool"] = "avg"
    return {name: value for name, value in arch.items() if name not in implied or value != implied[name]}


def _without_nulls(laid: dict[str, Any]) -> dict[str, Any]:
    """The same without options that are null: so a variant's changes say that it has them no longer."""
    for node in ("arch.options", "train.opt_kwargs"):
        if isinstance(options := value_at(laid, node), Mapping):
            laid = lay(laid, node, {name: value for name, value in options.items() if value is not None})
    return laid


def _whole(value: Any) -> Any:
    """The same as a sweep file has it: 6 for 6.0, which are equal in every field, and a field of whole numbers takes
    only the first; tuples for lists."""
    if isinstance(value, Mapping):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_whole(item) for item in value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
