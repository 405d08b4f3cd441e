"""Trials of a fixed design, seed by seed: after the first one the table is complete, if unreplicated."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from results import TrialRecord
from runners.driver.trial_records import TrialRecords
from runners.planning.plan import Plan
from runners.trials.assignment import Assignment
from search_space import TrialSpec, Variant, trial_id

__all__ = ["PlannedTrials"]


class PlannedTrials:
    """Planned trials without a record."""

    def __init__(self, plan: Plan, records: TrialRecords) -> None:
        self._plan = plan
        self._records = records
        # Variants and seeds only: an assignment takes a kilobyte, and ten thousand may be waiting.
        self._queue = deque(
            (variant, seed)
            for seed in plan.sweep.seeds
            for variant in plan.variants
            if records.find(trial_id(variant.setting.with_seed(seed))) is None
        )

    @property
    def num_planned(self) -> int:
        return self._plan.num_trials

    @property
    def num_waiting(self) -> int:
        return len(self._queue)

    def next(self) -> Assignment | None:
        return self._assignment(*self._queue.popleft()) if self._queue else None

    def finished(self) -> list[TrialRecord]:
        """The records of the plan's trials, read from the ledger in the order of the plan."""
        whole = self._records.read()
        keys = [trial_id(spec) for spec in self._specs()]
        return [whole[key] for key in keys if key in whole and self._records.find(key)]

    def on_trial_end(self, assignment: Assignment, record: TrialRecord) -> None:
        pass

    def drop(self, variant_id: str) -> list[Assignment]:
        """Remove and return the waiting trials of a variant."""
        dropped = [self._assignment(variant, seed) for variant, seed in self._queue if variant.variant_id == variant_id]
        self._queue = deque((variant, seed) for variant, seed in self._queue if variant.variant_id != variant_id)
        return dropped

    def put_back(self, key: str) -> None:
        """Queue a trial again that did not fail by its own fault; it is next."""
        for variant in self._plan.variants:
            for seed in self._plan.sweep.seeds:
                if trial_id(variant.setting.with_seed(seed)) == key:
                    self._queue.appendleft((variant, seed))

    def _assignment(self, variant: Variant, seed: int) -> Assignment:
        return self._records.assignment(variant.setting.with_seed(seed), variant)

    def _specs(self) -> Iterator[TrialSpec]:
        for seed in self._plan.sweep.seeds:
            for variant in self._plan.variants:
                yield variant.setting.with_seed(seed)
