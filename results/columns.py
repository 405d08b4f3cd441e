"""Anything about a trial by its name: a field of its record, a metric, or a path into its spec.

trial_id variant seed status epochs attempt ...   fields of the record
failure failure_message                           why it failed
top1 loss val_top1 ...                            final metrics
arch.depth train.lr arch.attention.name ...       what was trained
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from results.records import TrialRecord

__all__ = ["FIELDS", "flattened", "known_columns", "value_of"]

FIELDS = (
    "trial_id", "variant_id", "variant", "seed", "status", "epochs", "attempt", "number", "params_m", "gmacs",
    "train_seconds", "total_seconds", "device", "host", "finished_at", "session", "role", "cached_from",
)  # fmt: skip
_FAILURE = {"failure": "type", "failure_message": "message"}


def value_of(record: TrialRecord, name: str) -> Any:
    """The value of that name; None where the trial has none."""
    if name in FIELDS:
        return getattr(record, name)
    if name in _FAILURE:
        return None if record.failure is None else getattr(record.failure, _FAILURE[name])
    if name in record.metrics:
        return record.metrics[name]
    node: Any = record.spec
    for part in name.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def known_columns(records: Iterable[TrialRecord]) -> set[str]:
    """Every name that is known for at least one of the records."""
    names = {*FIELDS, *_FAILURE}
    for record in records:
        names.update(record.metrics)
        for path in flattened(record.spec):
            parts = path.split(".")
            names.update(".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return names - {"arch", "task", "train"}


def flattened(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted path -> value, down to what is no mapping; an empty mapping is a value."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{path}.")
        else:
            flat[path] = value
    return flat
