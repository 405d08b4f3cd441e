"""Orchestrator of a run: which trial is next, which running one is stopped, and the record of each.

Both engines drive the same orchestrator, so they cannot disagree about order, pruning, resume or records. The
orchestrator owns the ledger; it runs in the driver only and does not depend on Ray.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from results import Failure, LedgerWriter, RecordSummary, TrialRecord
from results.plan.stored import Origin
from runners.cache.origin import Origins
from runners.cache.reuse import RecordLookup
from runners.driver.planned_trials import PlannedTrials
from runners.driver.search_trials import SearchTrials
from runners.driver.stop_request import StopRequest
from runners.driver.trial_records import TrialRecords
from runners.planning.plan import Plan
from runners.search.pruning import EpochPruning, Pruning, SeedPruning
from runners.search.study import Study
from runners.trials.assignment import (
    Assignment,
    GroupAnswer,
    Place,
    RunningTrial,
    TrialRole,
    given_up_record,
    record_of,
)
from runners.trials.form import LARGEST_GROUP, needs_one_epoch
from runners.trials.objectives import objective
from runners.trials.observer import Observer
from runners.trials.outcome import Outcome
from search_space import variant_id

__all__ = ["Orchestrator"]

_MAX_FAILURES_OF_A_VARIANT = 2  # a variant with so many in a row is not retried unasked
# A trial without memory may have lacked what others took, so its failure counts for its variant only if it was alone.
_LACKS_OF_MEMORY = frozenset({"OutOfMemory", "Killed"})


class Orchestrator:
    """Decisions of a driver about its trials: `ask`, `report`, `finish`. Not thread-safe: one driver thread calls it.

    Args:
        plan: the planned variants and the sweep.
        ledger: opened and locked by the caller.
        retry: statuses that run again (`failed`).
        limit: start at most this many trainings now.
        session: id of this start of the driver (goes into every record).
        role: purpose of the trials (goes into every record); records of another role do not count.
        stop: once it is asked, no further trial starts.
        lookup: finds records of equal trials that were trained elsewhere, for a search, rounds of seeds and paths.
        origins: the data, code and software of each trial; goes into every record.

    Attributes:
        study: Optuna study of a search; None for a fixed design.
    """

    def __init__(
        self,
        plan: Plan,
        ledger: LedgerWriter,
        *,
        retry: frozenset[str] = frozenset(),
        limit: int | None = None,
        session: str = "",
        role: TrialRole = "",
        observers: Sequence[Observer] = (),
        stop: StopRequest | None = None,
        lookup: RecordLookup | None = None,
        origins: Origins | None = None,
    ) -> None:
        self.plan = plan
        self.stop = stop
        self._limit = limit
        self._observers = (
            observers  # may grow until the first trial starts: the live view needs the orchestrator's counts
        )
        self._running: dict[str, RunningTrial] = {}
        self._workers = 1  # as the engine said last
        self._failures_in_a_row: Counter[str] = Counter()  # by variant id
        self._retries: deque[Assignment] = deque()  # to be trained once everything else is under way
        sweep = plan.sweep
        keeps_whole = sweep.search is not None
        self._records = TrialRecords(
            ledger, retry=retry, session=session, role=role, keeps_whole=keeps_whole, origins=origins
        )
        self.study = Study(sweep, ledger.run_dir) if sweep.search else None
        self._trials = (
            SearchTrials(plan, self._records, self.study, lookup=lookup)
            if self.study
            else PlannedTrials(plan, self._records, lookup=lookup if plan.sweep.asks_by_results else None)
        )
        self._pruning = _pruning(plan, self.study, self._trials)

    # -- counts ---------------------------------------------------------------

    @property
    def num_planned(self) -> int:
        """Trials the sweep asks for, finished ones included."""
        return self._trials.num_planned

    @property
    def num_remaining(self) -> int:
        """Trials still to be started or finished."""
        repeated = sum(1 + len(each.also) for each in self._retries)
        return self._trials.num_waiting + repeated + len(self._running)

    @property
    def num_startable(self) -> int:
        """Trainings that this session may still start, `--limit` considered."""
        waiting = self._trials.num_trainings + len(self._retries)
        return waiting if self._limit is None else min(waiting, self._limit)

    @property
    def num_taken_over(self) -> int:
        """Trials of rounds of seeds, or of a path, that were trained elsewhere."""
        return self._trials.num_taken_over if isinstance(self._trials, PlannedTrials) else 0

    @property
    def is_exhausted(self) -> bool:
        """Whether a search ends before its budget, because its space has no further variant."""
        return isinstance(self._trials, SearchTrials) and self._trials.is_exhausted

    @property
    def records(self) -> dict[str, RecordSummary]:
        """The summary of the deciding record of each trial id, of this and earlier sessions."""
        return self._records.decisive

    @property
    def search_records(self) -> list[RecordSummary]:
        """Record summaries of the trials that this search proposed."""
        assert isinstance(self._trials, SearchTrials)
        return [self.records[key] for key in self._trials.trial_ids if key in self.records]

    def running(self) -> list[Assignment]:
        """Trials that were begun and not finished, those that are measured in another's training included."""
        return [progress.assignment for progress in self._running.values()]

    # -- one trial -------------------------------------------------------------

    def ask(self) -> Assignment | None:
        """The next trial to train, with those that are measured in its training; None when there is nothing (more)
        to start. Each of them is running from now on."""
        if self.is_stopping:
            return None
        assignment = self._ask_new()
        if assignment is None and self._retries:
            assignment = self._retries.popleft()
        if assignment is not None:
            self._start(assignment)
        return assignment

    def ask_group(self, workers: int = 1) -> tuple[Assignment, ...]:
        """The next trials to train together: one, or up to eight of variants that train fused. Each is a trial of its
        own, with its own reports and end. Empty where `ask` is None.

        Args:
            workers: trainings at a time; a group is no larger than that each of them gets one.
        """
        self._workers = workers
        first = self.ask()
        return () if first is None else (first, *self._start_beside(first.trial_id, LARGEST_GROUP - 1))

    def report_group(self, points: Mapping[str, Mapping[str, float]]) -> GroupAnswer:
        """Record a finished epoch of every member of a group, by trial id: those that should stop now, and the trials
        that take the places of members that have ended, which are running from now on."""
        stop = tuple(key for key, metrics in points.items() if self.report(key, metrics))
        ended = {key for key, metrics in points.items() if self._is_last_epoch(key, metrics)}.union(stop)
        goes_on = [key for key in points if key not in ended]
        if not goes_on or self.is_stopping or needs_one_epoch(self._running[goes_on[0]].assignment.spec.train):
            return GroupAnswer(stop)
        group = self._running[goes_on[0]].group
        present = {key for key, progress in self._running.items() if progress.group == group} - ended
        return GroupAnswer(stop, self._start_beside(goes_on[0], LARGEST_GROUP - len(present)))

    def _start_beside(self, key: str, most: int) -> tuple[Assignment, ...]:
        """Start further trials in the group of a running one, `--limit` considered."""
        first = self._running[key].assignment
        most = most if self._limit is None else min(most, self._limit)
        if first.alone or most <= 0:
            return ()
        beside = self._trials.next_beside(first, self._workers, most)
        for each in beside:
            self._start(each, group=self._running[key].group)
            self._limit = None if self._limit is None else self._limit - 1
        return tuple(beside)

    def _start(self, assignment: Assignment, *, group: str = "") -> None:
        if self._pruning:
            self._pruning.start(assignment)
        for each in (assignment, *assignment.also):
            self._running[each.trial_id] = RunningTrial(each, group or assignment.trial_id)
            for observer in self._observers:
                observer.on_trial_start(each)

    @property
    def is_stopping(self) -> bool:
        """Whether running trials should save themselves and end."""
        return self.stop is not None and self.stop.is_asked

    def origin_of(self, assignment: Assignment) -> Origin:
        """Data, code and software that the trial is trained with; empty where they are not recorded."""
        return self._records.origin_of(assignment.spec)

    def placed(self, key: str, place: Place) -> None:
        """Record where a trial runs; called again if it moved because its worker was lost."""
        assignment = self._running[key].assignment
        for each in (assignment, *assignment.also):
            for observer in self._observers:
                observer.on_trial_placed(each, place)

    def resume(self, key: str, curve: Sequence[Mapping[str, float]]) -> None:
        """Record that a trial continues after the epochs of `curve`, which an earlier start of it has trained."""
        progress = self._running[key]
        known = {point["epoch"] for point in progress.curve}
        progress.curve = [dict(point) for point in curve]
        progress.resumed_from_epoch = int(curve[-1]["epoch"]) if curve else 0
        for metrics in curve:
            if metrics["epoch"] not in known:
                for observer in self._observers:
                    observer.on_epoch_end(progress.assignment, metrics)
            self._wants_stop(progress.assignment, metrics)

    def report(self, key: str, metrics: Mapping[str, float]) -> bool:
        """Record one finished epoch; True if the trial should stop now (it is then `pruned`)."""
        progress = self._running[key]
        epoch = int(metrics["epoch"])
        # A trial that lost its worker starts again from its first epoch: the newer curve replaces the older one.
        progress.curve = [point for point in progress.curve if point["epoch"] < epoch]
        progress.curve.append(dict(metrics))
        if progress.resumed_from_epoch is not None and epoch <= progress.resumed_from_epoch:
            progress.resumed_from_epoch = None  # lost again, and this time without a checkpoint that could be used
        for observer in self._observers:
            observer.on_epoch_end(progress.assignment, metrics)
        wants_stop = self._wants_stop(progress.assignment, metrics)
        # The last epoch is trained already: Hyperband and successive halving would call fully trained trials pruned.
        progress.pruned = wants_stop and not self._is_last_epoch(key, metrics)
        return progress.pruned

    def report_other(self, key: str, metrics: Mapping[str, float]) -> None:
        """Record an epoch of a trial that is measured in another's training, which alone decides whether to stop."""
        progress = self._running[key]
        point = dict(metrics)
        if point in progress.curve:  # brought over an interruption
            return
        progress.curve = [known for known in progress.curve if known["epoch"] < point["epoch"]] + [point]
        for observer in self._observers:
            observer.on_epoch_end(progress.assignment, point)

    def finish(self, key: str, result: Outcome | Failure | None, *, may_retry_exclusively: bool = False) -> TrialRecord:
        """Writes the records of a trial and of those that were measured in its training, whose own is returned.

        That one is written last: killed before it, a driver continues from its checkpoint. `None`: the engine stopped
        it because `report` said so.

        Args:
            may_retry_exclusively: a trial that ran out of memory runs once more, because it shared its device with
            others.
        """
        progress = self._running[key]
        is_retried = may_retry_exclusively and self._ran_out_of_memory(progress.assignment, result)
        others = [self._end_other(each, progress, result, is_retried) for each in progress.assignment.also]
        ended = record_of(progress, result, self.plan.cost_of(progress.assignment.variant))
        record = self._records.add(progress.assignment, ended)
        for each in (progress.assignment, *progress.assignment.also):
            del self._running[each.trial_id]
        given_up: list[tuple[Assignment, TrialRecord]] = []
        if record.status == "preempted":
            self._retries.append(progress.assignment)
        else:
            given_up = self._note_end(record, progress.assignment, is_retried=is_retried)
        for assignment, ended in [*others, (progress.assignment, record), *given_up]:
            for observer in self._observers:
                observer.on_trial_end(assignment, ended)
        return record

    def run_again(self, key: str) -> None:
        """Repeat a failed trial of this session whose node fails everything."""
        self._trials.put_back(key)

    def variant_keeps_failing(self, key: str) -> bool:
        """Whether the latest trials of this trial's variant all failed, so that it gets no second worker."""
        return self._keeps_failing(variant_id(self._running[key].assignment.spec))

    def is_pruned(self, key: str) -> bool:
        """True once `report` has asked this running trial to stop."""
        return self._running[key].pruned

    def record_lost_worker(self, key: str, reason: str) -> None:
        """Record that the engine lost the worker of a running trial and starts it again elsewhere."""
        self._running[key].lost_workers.append(reason)

    def lost_workers(self, key: str) -> list[str]:
        """The engine's message about each worker that this running trial lost."""
        return list(self._running[key].lost_workers)

    def is_running(self, key: str) -> bool:
        return key in self._running

    # -- private --------------------------------------------------------------

    def _wants_stop(self, assignment: Assignment, metrics: Mapping[str, float]) -> bool:
        if self._pruning is None:
            return False
        value = objective(metrics, self.plan.sweep.metric)
        assert value is not None, f"the task does not report {self.plan.sweep.metric}"
        wants_stop = self._pruning.report(assignment.trial_id, int(metrics["epoch"]), value)
        return wants_stop and not self._is_reference(assignment)

    def _is_last_epoch(self, key: str, metrics: Mapping[str, float]) -> bool:
        return metrics["epoch"] >= (self._running[key].assignment.spec.num_epochs or metrics["epoch"])

    def _is_reference(self, assignment: Assignment) -> bool:
        """Whether the training is of the reference row, which is never pruned: every difference refers to it."""
        trained = (assignment, *assignment.also)
        return assignment.proposal is None and any(each.variant.is_baseline for each in trained)

    def _end_other(
        self, assignment: Assignment, trained: RunningTrial, result: Outcome | Failure | None, is_retried: bool
    ) -> tuple[Assignment, TrialRecord]:
        """Write the record of a trial that was measured in the training of another."""
        progress = self._running[assignment.trial_id]
        progress.pruned, progress.resumed_from_epoch = trained.pruned, trained.resumed_from_epoch
        if isinstance(result, Outcome):
            assert result.status != "completed" or assignment.trial_id in result.others, "a trial was not measured"
            result = result.others.get(assignment.trial_id, Outcome(result.status))
        record = self._records.add(assignment, record_of(progress, result, self.plan.cost_of(assignment.variant)))
        if record.status != "preempted" and not is_retried:
            self._count_failure(record)
        return assignment, record

    def _note_end(
        self, record: TrialRecord, assignment: Assignment, *, is_retried: bool
    ) -> list[tuple[Assignment, TrialRecord]]:
        """Let the record decide its trial, unless that is repeated; returns the trials given up because of it."""
        if is_retried:
            others = tuple(replace(each, attempt=each.attempt + 1) for each in assignment.also)
            self._retries.append(replace(assignment, attempt=record.attempt + 1, alone=True, also=others))
            for each in (assignment, *others):
                self._records.goes_on(each.trial_id)
            if assignment.proposal:
                return []  # a failure reported now would mark the point as infeasible
        else:
            self._count_failure(record)
        given_up: list[tuple[Assignment, TrialRecord]] = []
        if self._pruning:
            self._pruning.finish(record)
            if self._pruning.has_given_up(record.variant_id) and not self._is_reference(assignment):
                given_up = self._give_up(record.variant_id)
        self._trials.on_trial_end(assignment, record)
        return given_up

    def _give_up(self, variant: str) -> list[tuple[Assignment, TrialRecord]]:
        """Write records for the waiting trials of the variant, which will not be trained."""
        dropped = self._trials.drop(variant)
        given_up = [(each, given_up_record(each, self.plan.cost_of(each.variant))) for each in dropped]
        return [(each, self._records.add(each, record)) for each, record in given_up]

    def _count_failure(self, record: TrialRecord) -> None:
        self._failures_in_a_row[record.variant_id] += 1
        if record.status != "failed":
            self._failures_in_a_row[record.variant_id] = 0

    def _keeps_failing(self, variant: str) -> bool:
        return self._failures_in_a_row[variant] >= _MAX_FAILURES_OF_A_VARIANT

    def _ask_new(self) -> Assignment | None:
        if self._limit is not None and self._limit <= 0:
            return None
        assignment = self._trials.next()
        if assignment is not None and self._limit is not None:
            self._limit -= 1
        return assignment

    def _ran_out_of_memory(self, assignment: Assignment, result: Outcome | Failure | None) -> bool:
        """Whether the trial lacked memory that it may find alone."""
        may_retry = not assignment.alone and not self._keeps_failing(variant_id(assignment.spec))
        return may_retry and isinstance(result, Failure) and result.type in _LACKS_OF_MEMORY


def _pruning(plan: Plan, study: Study | None, trials: SearchTrials | PlannedTrials) -> Pruning | None:
    """Pruning of the sweep, with the earlier trials replayed; None where nothing is pruned."""
    prune = plan.sweep.prune
    if prune is None:
        return None
    if prune.is_over_seeds:
        pruning = SeedPruning(plan.sweep)
    elif study is not None and study.is_pruned_by_epoch:
        return EpochPruning(plan.sweep, shared=study.trial_of)
    else:
        pruning = EpochPruning(plan.sweep)
    pruning.replay(trials.finished())
    return pruning
