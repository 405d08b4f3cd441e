"""Trials of a fixed design, seed by seed: after the first one the table is complete, if unreplicated.

Trials of variants that train fused and differ in numbers only are handed out together, so their rows are complete
before those of later variants.
Trials that differ in evaluation-only options alone are handed out together: the first one trains, the others are
measured in its training. A driver that is killed between the records of two of them trains once more for those that
have none, because weights are not kept.

With rounds of seeds those of the first look are waiting at first, and of a path those of its first step; the end of a
trial may add further ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from results import TrialRecord
from runners.cache.reuse import RecordLookup
from runners.driver.asked_trials import AskedTrials
from runners.driver.trial_records import TrialRecords
from runners.planning.plan import Plan
from runners.planning.trainings import Training, num_trials_here, trainings_left, trials_of
from runners.trials.assignment import Assignment, reused_record
from runners.trials.form import group_size, stack_of
from search_space import TrialSpec, Variant, trial_id

__all__ = ["PlannedTrials"]


class PlannedTrials:
    """Planned trials without a record.

    Args:
        lookup: where results decide what is asked for, finds the records of equal trials that were trained elsewhere,
            as they are asked for; elsewhere all were taken over before.

    Attributes:
        num_taken_over: trials whose records were found there.
    """

    def __init__(self, plan: Plan, records: TrialRecords, *, lookup: RecordLookup | None = None) -> None:
        self._plan = plan
        self._records = records
        self._lookup = lookup
        self._asked = AskedTrials(plan, records) if plan.sweep.asks_by_results else None
        self.num_taken_over = 0
        # Variants and seeds only: an assignment takes a kilobyte, and ten thousand may be waiting.
        self._queue: deque[Training] = deque()
        if self._asked is None:
            self._queue.extend(trainings_left(plan, plan.sweep.seeds, lambda key: records.find(key) is None))
        self._given: dict[str, Training] = {}  # by the id of the trial that trains
        self._stacks: dict[str, str] = {}  # by variant id
        self._ask_further()

    @property
    def num_planned(self) -> int:
        """All trials of the plan; where results decide, those that are asked for so far."""
        return num_trials_here(self._plan) if self._asked is None else self._asked.num_asked

    @property
    def num_waiting(self) -> int:
        return sum(len(training.variants) for training in self._queue)

    @property
    def num_trainings(self) -> int:
        """Trainings that the waiting trials take."""
        return len(self._queue)

    def next(self) -> Assignment | None:
        return self._hand_out(self._queue.popleft()) if self._queue else None

    def next_beside(self, assignment: Assignment, workers: int, most: int | None) -> list[Assignment]:
        """Trials that train together with one that was handed out, if that is fused: further seeds of its variant, and
        those of variants that can be members of the same stack.

        Args:
            workers: trainings at a time.
            most: limit of their number.
        """
        if assignment.numerics != "fused":
            return []
        stack = self._stack_of(assignment.variant)
        same = [each for each in self._queue if self._stack_of(each.variants[0]) == stack]
        number = group_size(len(same) + 1, len(self._queue) + 1, workers) - 1
        taken = same[: number if most is None else min(number, most)]
        for training in taken:
            self._queue.remove(training)
        return [self._hand_out(training) for training in taken]

    def finished(self) -> list[TrialRecord]:
        """The records of the plan's trials that were trained, read from the ledger in the order of the plan.

        Those that were measured in the training of another are left out: a pruner sees one curve of each training.
        """
        whole = self._records.read()
        keys = [trial_id(spec) for spec in self._specs()]
        found = [whole[key] for key in keys if key in whole and self._records.find(key)]
        return [record for record in found if not record.trained_by]

    def on_trial_end(self, assignment: Assignment, record: TrialRecord) -> None:
        self._ask_further()

    def drop(self, variant_id: str) -> list[Assignment]:
        """Remove and return the waiting trials of a variant, and those that would be measured in its trainings."""
        dropped = [training for training in self._queue if training.variants[0].variant_id == variant_id]
        self._queue = deque(training for training in self._queue if training.variants[0].variant_id != variant_id)
        assignments = map(self._assignment, dropped)
        return [each for one in assignments for each in (replace(one, also=()), *one.also)]

    def put_back(self, key: str) -> None:
        """Queue a training again that did not fail by its own fault; it is next."""
        training = self._given[key]
        self._queue.appendleft(training)
        for variant in training.variants:
            self._records.goes_on(trial_id(variant.setting.with_seed(training.seed)))

    def _ask_further(self) -> None:
        """Queue what the results so far ask for; results that are known elsewhere may ask for more at once."""
        while self._asked is not None and (asked := self._asked.further()):
            seeds = [seed for seed in self._plan.sweep.seeds if seed in asked.values()]
            missing = {key for key in asked if self._records.find(key) is None}
            for training in trainings_left(self._plan, seeds, missing.__contains__):
                left = tuple(each for each in training.variants if not self._is_taken_over(each, training.seed))
                if left:
                    self._queue.append(replace(training, variants=left))

    def _is_taken_over(self, variant: Variant, seed: int) -> bool:
        spec = variant.setting.with_seed(seed)
        record = self._lookup(spec) if self._lookup else None
        if record is None:
            return False
        assignment = self._records.assignment(spec, variant)
        self._records.add(assignment, reused_record(assignment, record))
        self.num_taken_over += 1
        return True

    def _stack_of(self, variant: Variant) -> str:
        """Equal for variants whose trials may be members of one stack; empty of one that does not train fused."""
        key = variant.variant_id
        if key not in self._stacks:
            is_fused = self._plan.form_of(variant.setting).numerics == "fused"
            self._stacks[key] = stack_of(variant.setting) if is_fused else ""
        return self._stacks[key]

    def _hand_out(self, training: Training) -> Assignment:
        assignment = self._assignment(training)
        self._given[assignment.trial_id] = training
        return assignment

    def _assignment(self, training: Training) -> Assignment:
        first, *others = (
            replace(
                self._records.assignment(variant.setting.with_seed(training.seed), variant),
                numerics=self._plan.form_of(variant.setting).numerics,
            )
            for variant in training.variants
        )
        return replace(first, also=tuple(replace(each, trained_by=first.trial_id) for each in others))

    def _specs(self) -> Iterator[TrialSpec]:
        return (spec for spec, _ in trials_of(self._plan))
