"""The driver's book: which trial comes next, whether a running one should stop, and what became of it.

Both engines drive the same book, so they cannot disagree about order, pruning, resume or records. The book owns the
ledger and the Optuna study; it runs in the driver only and knows nothing of Ray.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, Protocol

from results import Failure, Head, LedgerWriter, TrialRecord, latest_by_trial, read_ledger
from runners.assignment import Assignment, Place, RunningTrial, infeasible_record, record_of, taken_over
from runners.outcome import Outcome
from runners.plan import Plan
from runners.stop_request import StopRequest
from runners.studies import Lookup
from runners.study import Proposal, Study, objective
from search_space import SpecError, TrialSpec, Variant, trial_id, variant_id

__all__ = ["Observer", "TrialBook"]

_FAILURES_OF_AN_ARM = 2  # an arm with so many in a row is not retried unasked
_LACKS_OF_MEMORY = frozenset({"OutOfMemory", "Killed"})
_MAX_FRUITLESS = 1000  # proposals in a row that need no training before a search gives up


class Observer(Protocol):
    """Somebody who watches: the live view, the progress file."""

    def started(self, assignment: Assignment) -> None: ...
    def placed(self, assignment: Assignment, place: Place) -> None: ...
    def epoch_done(self, assignment: Assignment, metrics: Mapping[str, float]) -> None: ...
    def ended(self, assignment: Assignment, record: TrialRecord) -> None: ...


class TrialBook:
    """Everything a driver decides. Not thread-safe: one driver thread asks, reports and finishes.

    Args:
        plan: the planned variants and the sweep.
        ledger: opened and locked by the caller.
        retry: statuses that run again (`failed`).
        limit: start at most this many trials now.
        session: which start of the driver this is (goes into every record).
        role: what the trials are for (goes into every record); records of another role do not count.
        stop: once it is asked, no further trial starts.
        lookup: where a search finds the records of equal trials that were trained elsewhere.
    """

    def __init__(
        self,
        plan: Plan,
        ledger: LedgerWriter,
        *,
        retry: frozenset[str] = frozenset(),
        limit: int | None = None,
        session: str = "",
        role: Literal["", "retune"] = "",
        observers: Sequence[Observer] = (),
        stop: StopRequest | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self.plan = plan
        self.stop = stop
        self._ledger = ledger
        self._limit = limit
        self._session = session
        self._role: Literal["", "retune"] = role
        self._observers = observers  # may grow until the first trial starts: the live view needs the book's counts
        self._lookup = lookup
        self._running: dict[str, RunningTrial] = {}
        heads = [head for head in ledger.heads if head.role == role]
        self._decisive: dict[str, Head] = latest_by_trial(heads)
        self._attempts: Counter[str] = Counter(head.trial_id for head in heads if head.status == "failed")
        sweep = plan.sweep
        self._failures_in_a_row: Counter[str] = Counter()  # by variant id
        self._again = frozenset(key for key, record in self._decisive.items() if record.status in retry)
        self._study: Study | None = None
        self._queue: deque[Assignment] = deque()
        self._retries: deque[Assignment] = deque()  # to be trained once everything else is under way
        self._budget = sweep.search.num_trials if sweep.search else 0
        self._spent = 0  # search trials that were or are being trained
        self._search_keys: set[str] = set()  # trials that this search proposed
        if sweep.search or sweep.prune:
            self._study = Study(sweep, ledger.run_dir)
            records = read_ledger(ledger.path).records if heads else []
            whole = latest_by_trial(record for record in records if record.role == role)
        if sweep.search and self._study:
            seen = self._study.replay_search(whole, trial_id_of=self._search_trial_id, again=self._again)
            self._search_keys = set(seen)
            self._spent = sum(record.status != "infeasible" for record in seen.values())
            return
        self._queue.extend(self._unfinished())
        if self._study:
            planned = (whole.get(key) for key, _, _ in self._planned() if key not in self._again)
            self._study.replay_fixed(record for record in planned if record is not None)

    # -- what is left ----------------------------------------------------------

    @property
    def num_planned(self) -> int:
        """Trials the sweep asks for, finished ones included."""
        return self._budget if self.plan.sweep.search else sum(1 for _ in self._planned())

    @property
    def num_remaining(self) -> int:
        """Trials still to be started or finished."""
        if self.plan.sweep.search:
            exhausted = self._study is not None and self._study.exhausted
            waiting = 0 if exhausted else self._budget - self._spent
        else:
            waiting = len(self._queue)
        return waiting + len(self._retries) + len(self._running)

    @property
    def num_startable(self) -> int:
        """Trials that this session may still start, `--limit` considered."""
        waiting = self.num_remaining - len(self._running)
        return waiting if self._limit is None else min(waiting, self._limit)

    @property
    def records(self) -> dict[str, Head]:
        """The head of the deciding record of each trial id, of this and earlier sessions."""
        return self._decisive

    @property
    def search_records(self) -> list[Head]:
        """The heads of the records of what this search proposed."""
        return [self._decisive[key] for key in sorted(self._search_keys) if key in self._decisive]

    def running(self) -> list[Assignment]:
        """Trials that were begun and not finished."""
        return [progress.assignment for progress in self._running.values()]

    # -- one trial -------------------------------------------------------------

    def ask(self) -> Assignment | None:
        """The next trial to train; None when there is nothing (more) to start."""
        if self.is_stopping:
            return None
        assignment = self._ask_new()
        if assignment is None and self._retries:
            assignment = self._retries.popleft()
        if assignment is None:
            return None
        if self._study:
            self._study.start(assignment.trial_id, assignment.proposal)
        self._running[assignment.trial_id] = RunningTrial(assignment)
        for observer in self._observers:
            observer.started(assignment)
        return assignment

    @property
    def is_stopping(self) -> bool:
        """Whether running trials should save themselves and end."""
        return self.stop is not None and self.stop.is_asked

    def placed(self, key: str, place: Place) -> None:
        """Notes where a trial runs; once more if it moved because its worker was lost."""
        for observer in self._observers:
            observer.placed(self._running[key].assignment, place)

    def resume(self, key: str, curve: Sequence[Mapping[str, float]]) -> None:
        """Notes that a trial continues after the epochs of `curve`, which an earlier start of it has trained."""
        progress = self._running[key]
        known = {point["epoch"] for point in progress.curve}
        progress.curve = [dict(point) for point in curve]
        progress.resumed_from_epoch = len(curve)
        for metrics in curve:
            if metrics["epoch"] not in known:
                for observer in self._observers:
                    observer.epoch_done(progress.assignment, metrics)
            if self._study is not None:
                value = objective(metrics, self.plan.sweep.metric)
                assert value is not None, f"the task does not report {self.plan.sweep.metric}"
                self._study.report(key, int(metrics["epoch"]), value)

    def report(self, key: str, metrics: Mapping[str, float]) -> bool:
        """Notes one finished epoch; True if the trial should stop now (it is then `pruned`)."""
        progress = self._running[key]
        epoch = int(metrics["epoch"])
        # A trial that lost its worker starts again from its first epoch: the newer curve replaces the older one.
        progress.curve = [point for point in progress.curve if point["epoch"] < epoch]
        progress.curve.append(dict(metrics))
        if progress.resumed_from_epoch is not None and epoch <= progress.resumed_from_epoch:
            progress.resumed_from_epoch = None  # lost again, and this time without a checkpoint that could be used
        for observer in self._observers:
            observer.epoch_done(progress.assignment, metrics)
        if self._study is None:
            return False
        value = objective(metrics, self.plan.sweep.metric)
        assert value is not None, f"the task does not report {self.plan.sweep.metric}"
        wants_stop = self._study.report(key, epoch, value)
        # The last epoch is paid for: Hyperband and successive halving would call fully trained trials pruned.
        progress.pruned = wants_stop and epoch < progress.assignment.spec.train.epochs
        return progress.pruned

    def finish(self, key: str, result: Outcome | Failure | None, *, may_retry_alone: bool = False) -> TrialRecord:
        """Writes the record of a trial. `None`: the engine stopped it because `report` said so.

        Args:
            may_retry_alone: a trial that ran out of memory runs once more, because it shared its device with others.
        """
        progress = self._running[key]
        record = record_of(progress, result, self.plan.cost_of(progress.assignment.variant))
        head = self._ledger.append(record)
        del self._running[key]
        if record.status == "preempted":
            self._retries.append(progress.assignment)
        else:
            self._decisive[key] = head
            self._note_end(record, progress.assignment, may_retry_alone=may_retry_alone)
        for observer in self._observers:
            observer.ended(progress.assignment, record)
        return record

    def run_again(self, key: str) -> None:
        """A failed trial of this session was not to blame: its node fails everything."""
        if self.plan.sweep.search:  # the sampler has been told; it proposes anew
            self._again |= {key}
            self._spent -= 1
            return
        self._queue.extendleft(
            self._assignment(key, spec, variant) for planned, variant, spec in self._planned() if planned == key
        )

    def arm_keeps_failing(self, key: str) -> bool:
        """Whether the latest trials of the arm of this running trial all failed: it is not to cost more workers."""
        return self._is_hopeless(variant_id(self._running[key].assignment.spec))

    def is_pruned(self, key: str) -> bool:
        """True once `report` has told this running trial to stop."""
        return self._running[key].pruned

    def note_lost_worker(self, key: str, reason: str) -> None:
        """The engine lost the worker of a running trial and starts it again elsewhere."""
        self._running[key].lost_workers.append(reason)

    def lost_workers(self, key: str) -> list[str]:
        """What the engine said of each worker that this running trial lost."""
        return list(self._running[key].lost_workers)

    def is_running(self, key: str) -> bool:
        return key in self._running

    # -- inside ----------------------------------------------------------------

    def _planned(self) -> Iterator[tuple[str, Variant, TrialSpec]]:
        """Seed-major: after the first seed of every variant there is a whole, if unreplicated, table to look at."""
        for seed in self.plan.sweep.seeds:
            for variant in self.plan.variants:
                spec = variant.setting.with_seed(seed)
                yield trial_id(spec), variant, spec

    def _unfinished(self) -> Iterator[Assignment]:
        for key, variant, spec in self._planned():
            if key not in self._decisive or key in self._again:
                yield self._assignment(key, spec, variant)

    def _note_end(self, record: TrialRecord, assignment: Assignment, *, may_retry_alone: bool) -> None:
        self._note_failure(record)
        is_retried = may_retry_alone and self._ran_out_of_memory(assignment, record)
        if is_retried:
            self._retries.append(replace(assignment, attempt=record.attempt + 1, alone=True))
        # A search waits for the second attempt: told now, the sampler would learn that the point is infeasible.
        if self._study and not (is_retried and assignment.proposal):
            self._study.finish(record.trial_id, record)

    def _assignment(self, key: str, spec: TrialSpec, variant: Variant, proposal: Proposal | None = None) -> Assignment:
        attempt = self._attempts[key] + 1
        return Assignment(key, spec, variant, attempt, proposal, session=self._session, role=self._role)

    def _note_failure(self, record: TrialRecord) -> None:
        arm = record.variant_id
        if record.status == "failed":
            self._attempts[record.trial_id] = record.attempt
            self._failures_in_a_row[arm] += 1
        else:
            self._failures_in_a_row[arm] = 0

    def _is_hopeless(self, arm: str) -> bool:
        return self._failures_in_a_row[arm] >= _FAILURES_OF_AN_ARM

    def _ask_new(self) -> Assignment | None:
        if self._limit is not None and self._limit <= 0:
            return None
        assignment = self._ask_search() if self.plan.sweep.search else self._ask_queue()
        if assignment is not None and self._limit is not None:
            self._limit -= 1
        return assignment

    def _ran_out_of_memory(self, assignment: Assignment, record: TrialRecord) -> bool:
        may_retry = not assignment.alone and not self._is_hopeless(record.variant_id)
        return may_retry and record.failure is not None and record.failure.type in _LACKS_OF_MEMORY

    def _ask_queue(self) -> Assignment | None:
        return self._queue.popleft() if self._queue else None

    def _search_trial_id(self, variant: Variant) -> str:
        return trial_id(variant.setting.with_seed(self.plan.sweep.seeds[0]))

    def _ask_search(self) -> Assignment | None:
        assert self._study is not None
        sweep = self.plan.sweep
        if self._spent >= self._budget:
            return None
        for _ in range(_MAX_FRUITLESS):
            if self._study.exhausted:
                return None
            proposal = self._study.propose()
            if proposal.variant is None:
                self._study.reject(proposal, is_infeasible=True)
                continue
            key = self._search_trial_id(proposal.variant)
            if key in self._running:
                self._study.reject(proposal, is_infeasible=False)
                continue
            self._search_keys.add(key)
            if key in self._decisive and key not in self._again:
                self._study.answer_from(proposal, self._decisive[key])
                continue
            reasons, cost = ([proposal.reason], {}) if proposal.reason else self.plan.reasons_against(proposal.variant)
            spec = proposal.variant.setting.with_seed(sweep.seeds[0])
            assignment = self._assignment(key, spec, proposal.variant, proposal)
            if reasons:
                self._study.reject(proposal, is_infeasible=True)
                self._write_infeasible(assignment, "; ".join(reasons), cost)
                continue
            self._again -= {key}
            self._spent += 1
            served = self._lookup(spec) if self._lookup else None
            if served is None:
                return assignment
            self._serve(assignment, served)
            if self._spent >= self._budget:
                return None
        raise SpecError(
            f"the search proposed {_MAX_FRUITLESS} variants in a row that are infeasible or already done; "
            "widen `space`, relax `require` or lower `search.num_trials`"
        )

    def _serve(self, assignment: Assignment, served: TrialRecord) -> None:
        """A proposal that was trained before, elsewhere, is told at once."""
        assert self._study is not None
        assert assignment.proposal is not None
        record = taken_over(assignment, served)
        self._decisive[assignment.trial_id] = self._ledger.append(record)
        self._study.answer_from(assignment.proposal, record)

    def _write_infeasible(self, assignment: Assignment, reason: str, cost: Mapping[str, float]) -> None:
        record = infeasible_record(assignment, reason, cost)
        self._decisive[assignment.trial_id] = self._ledger.append(record)
