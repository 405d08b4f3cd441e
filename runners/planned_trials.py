"""The trials of a fixed design, seed by seed: after the first seed of every variant there is a whole, if unreplicated,
table to look at."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from results import TrialRecord
from runners.assignment import Assignment
from runners.plan import Plan
from runners.trial_records import TrialRecords
from search_space import TrialSpec, Variant, trial_id

__all__ = ["PlannedTrials"]


class PlannedTrials:
    """What the plan asks for and the ledger does not hold."""

    def __init__(self, plan: Plan, records: TrialRecords) -> None:
        self._plan = plan
        self._records = records
        planned = list(self._planned())
        self.num_planned = len(planned)
        missing = [(spec, variant) for spec, variant in planned if records.find(trial_id(spec)) is None]
        self._queue = deque(records.assignment(spec, variant) for spec, variant in missing)

    @property
    def num_waiting(self) -> int:
        return len(self._queue)

    def next(self) -> Assignment | None:
        return self._queue.popleft() if self._queue else None

    def ended(self, assignment: Assignment, record: TrialRecord) -> None:
        pass

    def finished(self) -> list[TrialRecord]:
        """The records of the plan's trials, read from the ledger in the order of the plan."""
        whole = self._records.read()
        keys = [trial_id(spec) for spec, _ in self._planned()]
        return [whole[key] for key in keys if key in whole and self._records.find(key)]

    def drop(self, variant_id: str) -> list[Assignment]:
        """Takes the waiting trials of a variant out."""
        dropped = [each for each in self._queue if each.variant.variant_id == variant_id]
        self._queue = deque(each for each in self._queue if each.variant.variant_id != variant_id)
        return dropped

    def put_back(self, key: str) -> None:
        """A trial that failed by no fault of its own comes next."""
        again = [(spec, variant) for spec, variant in self._planned() if trial_id(spec) == key]
        self._queue.extendleft(self._records.assignment(spec, variant) for spec, variant in again)

    def _planned(self) -> Iterator[tuple[TrialSpec, Variant]]:
        for seed in self._plan.sweep.seeds:
            for variant in self._plan.variants:
                yield variant.setting.with_seed(seed), variant
