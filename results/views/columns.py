"""Columns of the trial list: fields of a record, metrics, and paths into the spec, by name.

trial_id variant seed status epochs attempt ...   fields of the record
failure failure_message                           why it failed
in_plan                                           whether the trial is of the present plan, as those of the table
top1 loss val_top1 ...                            final metrics
arch.depth train.lr arch.attention.name ...       paths into the spec of the trial
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from results.store.progress import UnfinishedTrial
from results.store.records import TrialRecord
from results.store.run import Run
from results.table.in_plan import blocks_by_variant, trials_in_plan
from search_space.settings.paths import MISSING, value_at

__all__ = ["FIELDS", "TrialRow", "flattened", "known_names", "rows_of"]

_FROM_RECORD = (
    "trial_id", "variant_id", "variant", "block", "seed", "status", "epochs", "attempt", "number", "params_m",
    "trainable_params_m", "gmacs", "train_seconds", "total_seconds", "device", "precision", "host", "finished_at",
    "session", "role", "cached_from", "trained_by", "numerics",
)  # fmt: skip
FIELDS = (*_FROM_RECORD, "failure", "failure_message", "in_plan")


@dataclass(frozen=True)
class TrialRow:
    """Row of one trial, finished or not. `fields` has all of FIELDS; most are None for an unfinished trial."""

    fields: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)

    def find(self, name: str) -> Any:
        """Value by name, which may be None; MISSING if the trial has no such name."""
        if name in self.fields:
            return self.fields[name]
        if name in self.metrics:
            return self.metrics[name]
        return value_at(self.spec, name)

    def value(self, name: str) -> Any:
        """Value by name; None where there is none."""
        found = self.find(name)
        return None if found is MISSING else found


def rows_of(run: Run, *, every_attempt: bool = False) -> list[TrialRow]:
    """Rows of a run's trials: ended ones in the order of the ledger, then started ones that have not ended.

    Args:
        every_attempt: include repeated attempts, trials that tuned a variant, and trials that are not in the plan.
    """
    in_plan = trials_in_plan(run)
    begun = {trial.trial_id: trial for trial in run.unfinished}
    if every_attempt:
        records = run.records
    else:
        begun = {key: trial for key, trial in begun.items() if key in in_plan}
        records = tuple(run.deciding[key] for key in run.deciding if key in in_plan and key not in begun)
    preempted = {record.trial_id for record in run.records if record.status == "preempted"}
    ids = {variant.name: variant.variant_id for variant in run.plan.variants}
    blocks = blocks_by_variant(run)
    # An unfinished trial has no record; its spec is that of another seed of its variant.
    specs = {record.variant_id: record.spec for record in run.records} if begun else {}
    rows: list[TrialRow] = []
    for record in records:
        block, is_planned = blocks.get(record.variant_id, record.block), not record.role and record.trial_id in in_plan
        rows.append(_finished(record, block, in_plan=is_planned))
    for key, trial in begun.items():
        is_running = run.driver is not None and not trial.has_ended
        status = "running" if is_running else "preempted" if key in preempted else "interrupted"
        variant_id = ids.get(trial.variant)
        rows.append(
            _unfinished(
                trial,
                status,
                variant_id,
                specs.get(variant_id or "", {}),
                run,
                block=blocks.get(variant_id or "", ""),
                in_plan=key in in_plan,
            )
        )
    return rows


def known_names(rows: Iterable[TrialRow]) -> set[str]:
    """Names that at least one of the rows has."""
    names: set[str] = set(FIELDS)
    seen: set[object] = set()
    for row in rows:
        names.update(row.metrics)
        if not row.spec or row.fields["variant_id"] in seen:  # specs of a variant differ only in the seed
            continue
        seen.add(row.fields["variant_id"])
        for path in flattened(row.spec):
            parts = path.split(".")
            names.update(".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return names - {"arch", "task", "train"}


def flattened(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings: dotted path -> value; an empty mapping is a value."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{path}.")
        else:
            flat[path] = value
    return flat


def _finished(record: TrialRecord, block: str, *, in_plan: bool) -> TrialRow:
    failure = record.failure
    fields = {name: getattr(record, name) for name in _FROM_RECORD}
    fields["failure"] = failure.type if failure else None
    fields["failure_message"] = failure.message if failure else None
    fields["in_plan"] = in_plan
    fields["block"] = block
    return TrialRow(fields, record.metrics, record.spec)


def _unfinished(
    trial: UnfinishedTrial,
    status: str,
    variant_id: str | None,
    spec: Mapping[str, Any],
    run: Run,
    *,
    block: str,
    in_plan: bool,
) -> TrialRow:
    fields = dict.fromkeys(FIELDS) | {
        "trial_id": trial.trial_id,
        "variant_id": variant_id,
        "variant": trial.variant,
        "block": block,
        "seed": trial.seed,
        "status": status,
        "epochs": trial.epoch,
        "host": trial.worker or None,
        "role": "retune" if run.tunes_a_variant(trial.seed) else "",
        "in_plan": in_plan,
    }
    return TrialRow(fields, spec=dict(spec) | {"seed": trial.seed} if spec else {})
