"""What of a run a view counts: the metric of its plan, the records of its planned trials, the metric that selects.

Apart from the table, whose published rows need the models of a whole sweep: a status answers at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from results.plan.run_plan import RunPlan
from results.store.record_summary import AnyRecord, RecordSummary
from results.store.records import TrialRecord
from search_space.parsing.errors import Problem, SpecError, did_you_mean
from search_space.schema.metrics import METRICS, RANKED, Metric

__all__ = ["metric_of", "planned_trials", "selection_metric"]


def metric_of(plan: RunPlan) -> Metric:
    """Metric of the plan, with unit and direction."""
    if plan.metric not in RANKED:
        raise SpecError(
            Problem(
                f"unknown metric {plan.metric!r}",
                path="metric",
                hint=f"{did_you_mean(plan.metric, RANKED)}\nif it is that of a plug-in: --plugin FILE",
            )
        )
    return METRICS[plan.metric]


def planned_trials(plan: RunPlan, records: Iterable[AnyRecord]) -> dict[str, dict[int, AnyRecord]]:
    """Records of planned trials: variant id -> seed -> record; those of an earlier form of the sweep are left out.

    Record summaries have no spec, so a search needs whole records.
    """
    known = {variant.variant_id for variant in plan.variants if not variant.dropped}
    seeds = set(plan.seeds)
    trials: dict[str, dict[int, AnyRecord]] = {}
    for record in records:
        is_ours = record.variant_id in known or (plan.design == "search" and _fits_search(record, plan))
        if is_ours and record.seed in seeds:
            trials.setdefault(record.variant_id, {})[record.seed] = record
    return trials


def selection_metric(metric: str, records: Iterable[AnyRecord]) -> str:
    """Name of the metric for selection of the best trial: on the validation split where every completed trial has one,
    so that the test split is not used for selection."""
    completed = [record.metrics for record in records if record.status == "completed"]
    name = f"val_{metric}"
    return name if completed and all(name in metrics for metrics in completed) else metric


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
