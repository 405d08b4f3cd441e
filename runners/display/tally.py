"""Running totals of a sweep for its displays: counts by status, best trial and estimated time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from results import RecordSummary, TrialRecord
from runners.trials.objectives import objective, objective_name
from search_space import METRICS
from search_space.parsing.visible import visible

__all__ = ["Count", "Tally"]

Count = Callable[[], int]


class Tally:
    """Running totals.

    Args:
        planned: number of trials that the sweep asks for, which grows with rounds of seeds.
        earlier: trial id -> summary of trials that have a record already.
        metric: of the sweep.
    """

    def __init__(self, planned: Count, earlier: Mapping[str, RecordSummary], metric: str) -> None:
        self.metric = METRICS[metric]
        self._planned = planned
        self.counts = {"completed": 0, "pruned": 0, "failed": 0, "infeasible": 0, "preempted": 0}
        self._statuses: dict[str, str] = {}
        self.best: TrialRecord | RecordSummary | None = None
        self._began = time.monotonic()
        self._ended_now = 0
        for record in earlier.values():
            self._count(record)

    @property
    def planned(self) -> int:
        return self._planned()

    @property
    def done(self) -> int:
        return self.counts["completed"] + self.counts["pruned"] + self.counts["failed"]

    @property
    def eta_seconds(self) -> float | None:
        if not self._ended_now:
            return None
        return (time.monotonic() - self._began) / self._ended_now * max(0, self.planned - self.done)

    @property
    def time_left(self) -> str:
        """The estimated time left as text; empty before a trial has ended."""
        seconds = self.eta_seconds
        if seconds is None:
            return ""
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"about {hours} h {minutes:02} min left" if hours else f"about {minutes}:{rest:02} left"

    @property
    def best_text(self) -> str:
        """The best trial so far with its value; empty without one."""
        if self.best is None:
            return ""
        value = f"{self.name(self.best.metrics)} {self.show(self.value(self.best))}"
        return f"best so far: {value}  {visible(self.best.variant)}, seed {self.best.seed}"

    def count_texts(self, num_running: int) -> list[str]:
        """`2 running`, `5 completed`, ..., without statuses that no trial has."""
        texts = [f"{num_running} running", f"{self.counts['completed']} completed"]
        others = ("pruned", "failed", "infeasible")
        return texts + [f"{self.counts[status]} {status}" for status in others if self.counts[status]]

    def end(self, record: TrialRecord) -> None:
        self._ended_now += 1
        self._count(record)

    def value(self, record: TrialRecord | RecordSummary) -> float | None:
        return objective(record.metrics, self.metric.name)

    def measured(self, metrics: Mapping[str, float]) -> float | None:
        """What `value` gives, of a running trial."""
        return objective(metrics, self.metric.name)

    def name(self, metrics: Mapping[str, float]) -> str:
        """Name of what `value` gives: a value of the validation split is not shown as one of the test split."""
        return objective_name(metrics, self.metric.name)

    def _count(self, record: TrialRecord | RecordSummary) -> None:
        if before := self._statuses.get(record.trial_id):  # a trial that is trained again is one trial
            self.counts[before] -= 1
        self.counts[record.status] += 1
        self._statuses[record.trial_id] = record.status
        value = self.value(record)
        if record.status != "completed" or value is None:
            return
        best = self.value(self.best) if self.best else None
        sign = 1 if self.metric.direction == "maximize" else -1
        if best is None or sign * value > sign * best:
            self.best = record

    def show(self, value: float | None) -> str:
        if value is None:
            return ""
        unit = " %" if self.metric.unit == "%" else ""
        return f"{value:.{self.metric.decimals}f}{unit}"
