"""Durations of earlier trials of a run and the variance between seeds, as a basis of its forecast.

Only completed trials of the run's own ledger count. Trials that differ only in options without influence on time
(learning rate, weight decay, ...) share their durations, so they also predict the trials of a retuned variant.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results import TrialRecord, latest_by_trial, read_ledger
from results.stats.paired import is_measured, paired_delta
from results.store.record_summary import counting
from results.store.run import read_plan
from results.store.run_layout import RunDir
from search_space import Setting, Variant
from search_space.schema.task import TASK_SPECS

__all__ = ["History", "Spread", "duration_key", "read_history"]

_COSTS_NO_TIME = frozenset(
    {
        "lr",
        "lr_base",
        "lr_base_size",
        "lr_base_scale",
        "head_init_scale",
        "head_init_bias",
        "weight_decay",
        "momentum",
        "sched",
        "warmup_epochs",
        "warmup_lr",
        "min_lr",
        "smoothing",
        "layer_decay",
    }
)
_MEASURED_BY = frozenset(name for task in TASK_SPECS.values() for name in task.evaluation_only)


@dataclass(frozen=True)
class Spread:
    """Standard deviation of same-seed differences, pooled over variants."""

    std: float
    num_arms: int
    num_pairs: int


@dataclass(frozen=True)
class History:
    """Deciding records of a run's ledger; empty where there is none. `num_tuned`: trials that tuned a variant."""

    records: tuple[TrialRecord, ...] = ()
    num_tuned: int = 0
    _seconds: dict[str, list[float]] = field(default_factory=dict)
    _measuring: dict[str, list[float]] = field(default_factory=dict)

    def seconds(self, setting: Setting) -> float | None:
        """Median duration in seconds of trials of this setting or of one with the same `duration_key`."""
        found = self._seconds.get(duration_key(setting.model_dump(mode="json")))
        return statistics.median(found) if found else None

    def measuring_seconds(self, setting: Setting) -> float | None:
        """Median time in seconds that trials of this setting took which were measured in another's training."""
        found = self._measuring.get(_measuring_key(setting.model_dump(mode="json")))
        return statistics.median(found) if found else None

    @property
    def typical_seconds(self) -> float | None:
        """Median duration in seconds of all trials, for a search whose variants are not known yet."""
        return statistics.median([each for found in self._seconds.values() for each in found] or [0.0]) or None

    def spread(self, baseline: Variant, variants: Iterable[Variant], metric: str) -> Spread | None:
        """Pooled standard deviation; None where no variant shares two seeds with the baseline."""
        base = self._by_seed(baseline.variant_id, metric)
        squares, degrees, pairs, num_arms = 0.0, 0, 0, 0
        for variant in variants:
            values = self._by_seed(variant.variant_id, metric)
            delta = paired_delta(values, base)
            if delta is None or delta.std is None:
                continue
            squares += delta.std**2 * (delta.num_pairs - 1)
            degrees += delta.num_pairs - 1
            pairs += delta.num_pairs
            num_arms += 1
        return Spread(math.sqrt(squares / degrees), num_arms, pairs) if degrees else None

    def _by_seed(self, variant_id: str, metric: str) -> dict[int, float]:
        return {
            record.seed: record.metrics[metric]
            for record in self.records
            if record.variant_id == variant_id
            and record.status == "completed"
            and is_measured(record.metrics.get(metric, math.nan))
        }


def read_history(run_dir: Path) -> History:
    """Read the history of a run directory, without the records that a `run --changed retrain` left out.

    Raises:
        SpecError: there is a ledger or a plan that cannot be read.
    """
    files = RunDir.of(run_dir)
    superseded = read_plan(files).superseded if files.plan.exists() else ()
    records = list(counting(read_ledger(files.ledger).records, superseded))
    main = tuple(latest_by_trial(record for record in records if not record.role).values())
    seconds: dict[str, list[float]] = {}
    measuring: dict[str, list[float]] = {}
    for record in records:
        if record.status != "completed" or record.total_seconds is None or record.cached_from:
            continue
        if record.trained_by:
            measuring.setdefault(_measuring_key(record.spec), []).append(record.total_seconds)
        else:
            seconds.setdefault(duration_key(record.spec), []).append(record.total_seconds)
    num_tuned = len({record.trial_id for record in records if record.role == "retune"})
    return History(main, num_tuned, seconds, measuring)


def duration_key(spec: Mapping[str, Any]) -> str:
    """Key that is equal for trials of equal duration, whatever a classifier is measured by."""
    task = {name: value for name, value in spec.get("task", {}).items() if name not in _MEASURED_BY}
    return _measuring_key({**spec, "task": task})


def _measuring_key(spec: Mapping[str, Any]) -> str:
    train = {name: value for name, value in spec.get("train", {}).items() if name not in _COSTS_NO_TIME}
    return json.dumps({"arch": spec.get("arch"), "task": spec.get("task"), "train": train}, sort_keys=True)
