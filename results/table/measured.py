"""Which numbers of a record a view counts: the metric of its plan, its value in a trial, the metric that selects."""

from __future__ import annotations

from collections.abc import Iterable

from results.plan.run_plan import RunPlan
from results.store.record_summary import AnyRecord, RecordSummary
from results.store.records import TrialRecord
from results.table.selection import selected_metrics
from search_space.parsing.errors import Problem, SpecError, did_you_mean
from search_space.schema.metrics import METRICS, RANKED, Metric

__all__ = ["metric_of", "selection_metric", "value_of"]


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


def value_of(plan: RunPlan, record: TrialRecord | RecordSummary) -> float | None:
    """The plan's metric in a trial, under its selection rule; None of one that did not complete, or is not finite."""
    if record.status != "completed":
        return None
    from results.stats.paired import is_measured  # here: most views of a run read no value by the rule of the table

    value = selected_metrics(record.metrics, plan.analysis.selection).get(metric_of(plan).name)
    return value if value is not None and is_measured(value) else None


def selection_metric(metric: str, records: Iterable[AnyRecord]) -> str:
    """Name of the metric for selection of the best trial: on the validation split where every completed trial has one,
    so that the test split is not used for selection."""
    completed = [record.metrics for record in records if record.status == "completed"]
    name = f"val_{metric}"
    return name if completed and all(name in metrics for metrics in completed) else metric
