"""Objectives of a search and metric of a pruner: values of a trial, each with a direction."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from results.store.records import TrialRecord
from search_space import COST_NAMES, Direction, Sweep, direction_of

__all__ = ["directions", "objective", "objective_name", "objective_names", "objective_values"]


def objective(metrics: Mapping[str, float], metric: str) -> float | None:
    """Value that searches and pruners use: the metric on the validation split where there is one."""
    return metrics.get(objective_name(metrics, metric))


def objective_name(metrics: Mapping[str, float], metric: str) -> str:
    """Name of that value, under which it is shown: `val_top1` where there is a validation split, else `top1`."""
    return f"val_{metric}" if f"val_{metric}" in metrics else metric


def objective_names(sweep: Sweep) -> tuple[str, ...]:
    """Names of the search's objectives: its `objectives`, else the metric of the sweep alone."""
    return sweep.search.objectives if sweep.search and sweep.search.objectives else (sweep.metric,)


def directions(sweep: Sweep) -> list[Direction]:
    """Direction of every objective, `maximize` or `minimize`."""
    return [direction_of(name) for name in objective_names(sweep)]


def objective_values(records: Sequence[TrialRecord], sweep: Sweep) -> list[float] | None:
    """Objectives of a variant, each the mean over its given completed trials; None where one is unknown."""
    values = [[_value(record, name) for record in records] for name in objective_names(sweep)]
    if not records or any(value is None for row in values for value in row):
        return None
    return [statistics.fmean(value for value in row if value is not None) for row in values]


def _value(record: TrialRecord, name: str) -> float | None:
    return getattr(record, name) if name in COST_NAMES else objective(record.metrics, name)
