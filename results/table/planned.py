"""The records that a view counts: those of the trials that the plan asks for.

Apart from the table, whose published rows need the models of a whole sweep: a status answers at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from results.plan.run_plan import RunPlan
from results.store.record_summary import AnyRecord, RecordSummary
from results.store.records import TrialRecord
from results.table.asked.path import asked_of_path, walk

__all__ = ["planned_trials"]


def planned_trials(plan: RunPlan, records: Iterable[AnyRecord]) -> dict[str, dict[int, AnyRecord]]:
    """Records of planned trials: variant id -> seed -> record; those of an earlier form of the sweep are left out.

    Of a path those that its steps so far do not ask for are left out, too: they may be of a run with other seeds.

    Record summaries have no spec, so a search needs whole records.
    """
    known = {variant.variant_id for variant in plan.variants if not variant.dropped}
    seeds = set(plan.seeds)
    trials: dict[str, dict[int, AnyRecord]] = {}
    for record in records:
        is_ours = record.variant_id in known or (plan.design == "search" and _fits_search(record, plan))
        if is_ours and record.seed in seeds:
            trials.setdefault(record.variant_id, {})[record.seed] = record
    if plan.path is None:
        return trials
    asked = asked_of_path(plan, walk(plan, trials))
    kept = {key: {seed: seeds[seed] for seed in asked.get(key, ()) if seed in seeds} for key, seeds in trials.items()}
    return {key: seeds for key, seeds in kept.items() if seeds}


def _fits_search(record: TrialRecord | RecordSummary, plan: RunPlan) -> bool:
    """False for records of an earlier form of the search: trials of other epochs or data are not comparable."""
    assert isinstance(record, TrialRecord), "summaries of a search"
    spec = record.spec
    if plan.own_training:  # the length of a training of the user's own is among its own settings
        return not plan.epochs or spec.get("task", {}).get("epochs") == plan.epochs
    train = spec.get("train", {})
    epochs, steps = train.get("epochs"), train.get("steps")
    dataset = spec.get("task", {}).get("dataset", {}).get("name")
    varied = tuple(record.changes)
    if plan.epochs and epochs and epochs != plan.epochs and not any("train.epochs".startswith(path) for path in varied):
        return False
    if epochs and steps != plan.steps and "train.steps" not in varied:
        return False
    return not plan.dataset or not dataset or dataset == plan.dataset or any(p.startswith("task") for p in varied)
