"""What a reader must know to read the numbers: over what a mean runs, what an interval is, what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from results.records import PublishedRow
from results.table import AblationTable

__all__ = ["DAGGER", "DELTA", "PLUS_MINUS", "footnotes", "sources"]

PLUS_MINUS = "\u00b1"
DAGGER = "\u2020"
DELTA = "\u0394"
_MOST_GROUPS = 8


def footnotes(table: AblationTable) -> tuple[str, ...]:
    """The notes below the table, in the order in which a reader meets what they explain."""
    return (
        _means(table),
        *_deltas(table),
        *_costs(table),
        *_order(table),
        *_pruned(table),
        *_failures(table),
        *_missing(table),
        *_published(table),
        *_dropped(table),
        *_foreign(table),
    )


def sources(table: AblationTable) -> dict[str, int]:
    """Source of published numbers -> its number in the footnotes, counted from 1."""
    found = dict.fromkeys(row.source for ours in table.rows for row in ours.published)
    return {source: number for number, source in enumerate(found, start=1)}


def _means(table: AblationTable) -> str:
    seeds = ", ".join(map(str, table.seeds))
    metric = table.metric
    better = "higher" if metric.direction == "maximize" else "lower"
    if len(table.seeds) == 1:
        over = f"of a single seed ({seeds}), so there is no standard deviation"
    else:
        over = f"mean {PLUS_MINUS} standard deviation (n - 1) over the completed seeds (planned: {seeds})"
    epochs = _varies(table, "train.epochs") or (f"{table.epochs} epochs" if table.epochs else "")
    dataset = _varies(table, "task.dataset") or table.dataset
    setting = ", ".join(part for part in (dataset, epochs) if part)
    return f"{metric.name} ({metric.unit}, {better} is better): {over}, after the last epoch" + (
        f"; {setting}." if setting else "."
    )


def _varies(table: AblationTable, path: str) -> str:
    """`epochs as the row says`, if a row changes what lies at or above the path."""
    changed = any(path == key or path.startswith(f"{key}.") for row in table.rows for key in row.changes)
    return f"{path} as the row says" if changed else ""


def _deltas(table: AblationTable) -> Iterable[str]:
    deltas = [row.delta for row in table.rows if row.delta is not None]
    if not deltas or table.baseline is None:
        return
    note = f"{DELTA}: mean of the same-seed differences to {table.baseline.name!r}"
    if any(delta.low is not None for delta in deltas):
        note += ", in brackets its 95 % t-interval (n - 1 degrees of freedom, not corrected for multiple comparisons)"
    if any(delta.low is None for delta in deltas):
        note += "; a single pair has no interval"
    yield note + "."


def _costs(table: AblationTable) -> Iterable[str]:
    parts = []
    if any(row.params_m is not None for row in table.rows):
        parts.append("params: millions")
    if any(row.gmacs is not None for row in table.rows):
        parts.append(
            "GMACs: 10^9 multiply-accumulates for one image (1 MAC = 2 FLOPs; matmul, convolution and attention only)"
        )
    if any(row.train_seconds is not None for row in table.rows):
        parts.append("train: mean seconds of optimisation")
    if parts:
        yield "; ".join(parts) + "."


def _order(table: AblationTable) -> Iterable[str]:
    if table.ordered_by:
        yield f"Rows come from a search, the best {table.ordered_by} first."


def _pruned(table: AblationTable) -> Iterable[str]:
    if any(row.num_pruned for row in table.rows):
        yield f"{DAGGER} pruned at the epoch beside it; outside every mean and difference."


def _failures(table: AblationTable) -> Iterable[str]:
    heads = {"failed": "Failed", "infeasible": "Infeasible"}
    for status, head in heads.items():
        groups: dict[str, list[str]] = {}
        for row in table.rows:
            for record in row.records:
                if record.status == status:
                    failure = record.failure
                    reason = f"{failure.type}: {failure.message}" if failure else ""
                    groups.setdefault(_first_line(reason), []).append(f"{row.name} seed {record.seed}")
        yield from _grouped(head, groups, "trials.csv")
    count = table.without_metric
    if count:
        yield f"{count} completed {_plural(count, 'trial')} without a finite {table.metric.name}; outside every mean."


def _missing(table: AblationTable) -> Iterable[str]:
    missing = sum(row.num_missing for row in table.rows)
    if missing:
        yield f"{missing} planned {_plural(missing, 'trial')} without a result so far."


def _published(table: AblationTable) -> Iterable[str]:
    for source, number in sources(table).items():
        yield f"[{number}] published: {source}."
    for row in table.unmatched:
        yield f"Published, but no such row here: {_published_text(row)}."


def _published_text(row: PublishedRow) -> str:
    """The published row in one line."""
    values = ", ".join(f"{name} {value:g}" for name, value in row.values.items())
    return f"{_changes_text(row.when) or 'baseline'}: {values} ({row.source})"


def _changes_text(changes: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{path}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for path, value in changes.items()
    )


def _dropped(table: AblationTable) -> Iterable[str]:
    groups: dict[str, list[str]] = {}
    for variant in table.dropped:
        groups.setdefault(_first_line(variant.reason), []).append(variant.name)
    yield from _grouped("Dropped before training", groups, "plan.json")


def _foreign(table: AblationTable) -> Iterable[str]:
    if table.num_foreign:
        count = table.num_foreign
        yield f"{count} earlier {_plural(count, 'record')} of the ledger not in this plan; not shown."


def _grouped(head: str, groups: Mapping[str, list[str]], where: str) -> Iterable[str]:
    """One line per reason; a long list is cut with the number of what is left out and where it stands."""
    for reason, names in list(groups.items())[:_MOST_GROUPS]:
        listed = ", ".join(names[:_MOST_GROUPS])
        more = f" and {len(names) - _MOST_GROUPS} more" if len(names) > _MOST_GROUPS else ""
        yield f"{head}: {listed}{more}: {reason}"
    left = len(groups) - _MOST_GROUPS
    if left > 0:
        yield f"{head}: {left} more {_plural(left, 'reason')}, see {where}."


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason recorded"


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else noun + "s"
