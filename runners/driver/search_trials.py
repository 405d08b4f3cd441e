"""Trials of a search: the sampler's proposals, each with every seed of the sweep.

A proposal that is in training, is recorded or is infeasible costs no training and no budget. With a pruner the seeds of
a proposal are trained one after the other as long as other work is left, because the time of a seed that has begun
cannot be saved.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from results import TrialRecord
from runners.cache.reuse import RecordLookup
from runners.driver.trial_records import TrialRecords
from runners.planning.plan import Plan
from runners.search.optuna_factory import num_independent
from runners.search.study import Study
from runners.trials.assignment import Assignment, infeasible_record, reused_record
from runners.trials.form import group_size
from runners.trials.proposal import Proposal, ProposalResult, proposal_result
from search_space import SpecError, Variant, all_params, space_size, trial_id

__all__ = ["SearchTrials"]

_MAX_FRUITLESS = 1000  # proposals in a row without training, after which the search ends
_FEW_FRUITLESS = 20  # after which the search of a finite space takes its variants one by one
_MAX_ENUMERATED = 10_000


@dataclass
class _Open:
    """Proposal that has not ended."""

    proposal: Proposal
    variant: Variant
    waiting: deque[Assignment]
    running: set[str] = field(default_factory=set)


class SearchTrials:
    """Proposals, and the trials they consist of.

    Args:
        lookup: finds the records of equal trials that were trained elsewhere.
    """

    def __init__(self, plan: Plan, records: TrialRecords, study: Study, *, lookup: RecordLookup | None = None) -> None:
        assert plan.sweep.search is not None
        self._plan = plan
        self._sweep = plan.sweep
        self._records = records
        self._study = study
        self._lookup = lookup
        self._open: list[_Open] = []
        self._keys: set[str] = set()  # trials that this search proposed
        size = space_size(plan.sweep)
        self._may_enumerate = size is not None and size <= _MAX_ENUMERATED
        self._has_tried_all = False
        self._budget = plan.num_suggestions
        search = plan.sweep.search
        self._num_independent = num_independent(search.sampler, search.options, begins_cold=not search.warm_start)
        ended = {variant.variant_id: variant for variant in study.replay(self._ending)}
        for variant in ended.values():
            self._keys |= set(self._trial_ids(variant))
        self._spent = sum(not self._is_infeasible(variant) for variant in ended.values())
        if self._may_enumerate and size is not None and study.num_proposed >= size:
            self._has_tried_all = self._untried() is None

    @property
    def num_planned(self) -> int:
        settings = self._spent if self._is_at_end else max(self._budget, self._spent)
        return settings * len(self._sweep.seeds)

    @property
    def is_exhausted(self) -> bool:
        """Whether the space has no variant left that this search has not proposed, and its budget is larger."""
        assert self._sweep.search is not None
        return self._spent < self._sweep.search.num_trials and (self._is_at_end or self._spent >= self._budget)

    @property
    def num_waiting(self) -> int:
        to_come = 0 if self._is_at_end else max(0, self._budget - self._spent)
        return to_come * len(self._sweep.seeds) + sum(len(each.waiting) for each in self._open)

    @property
    def num_trainings(self) -> int:
        """Trainings that the waiting trials take: one each."""
        return self.num_waiting

    def finished(self) -> list[TrialRecord]:
        """Records of the trials that this search proposed."""
        return [record for key in self.trial_ids if (record := self._records.find_whole(key))]

    @property
    def trial_ids(self) -> list[str]:
        """The trials that this search proposed."""
        return sorted(self._keys)

    def next(self) -> Assignment | None:
        found = self._next_free(math.inf)
        return found or next((self._hand_out(each) for each in self._open if each.waiting), None)

    def next_beside(self, assignment: Assignment, workers: int, most: int | None) -> list[Assignment]:
        """Trials that train together with one that was handed out, if that is fused: further seeds of its proposal,
        and those of proposals that depend on no result, which it makes now.

        Args:
            workers: trainings at a time.
            most: limit of their number.
        """
        if assignment.numerics != "fused":
            return []
        number = group_size(self.num_waiting + 1, self.num_waiting + 1, workers) - 1
        found: list[Assignment] = []
        while len(found) < (number if most is None else min(number, most)):
            other = self._next_free(self._num_independent)
            if other is None:
                break
            assert other.numerics == "fused", "a search that trains fused has one shape"
            found.append(other)
        return found

    def on_trial_end(self, assignment: Assignment, record: TrialRecord) -> None:
        """Record the final end of a trial; the sampler gets the result once the proposal is decided."""
        opened = next((each for each in self._open if each.proposal is assignment.proposal), None)
        if opened is None:
            return
        opened.running.discard(assignment.trial_id)
        if (end := self._ending(opened.variant)) is not None:
            self._close(opened, end)

    def drop(self, variant_id: str) -> list[Assignment]:
        """Remove and return the waiting trials of a variant."""
        dropped: list[Assignment] = []
        for each in self._open:
            if each.variant.variant_id == variant_id:
                dropped += each.waiting
                each.waiting.clear()
        return dropped

    def put_back(self, key: str) -> None:
        """Do nothing: the sampler has the failure already, and proposes again."""
        self._records.repeat(key)
        self._spent -= 1
        self._has_tried_all = False

    # -- private --------------------------------------------------------------

    def _next_free(self, num_proposals: float) -> Assignment | None:
        """The next trial beside which no seed of its proposal trains, if there is a pruner; a new proposal is made only
        while there are fewer than `num_proposals`."""
        for each in self._open:
            if each.waiting and not (self._sweep.prune and each.running):
                return self._hand_out(each)
        while self._spent < self._budget and self._study.num_proposed < num_proposals:
            opened = self._next_open()
            if opened is None:
                break
            if opened.waiting:
                return self._hand_out(opened)
        return None

    @property
    def _is_at_end(self) -> bool:
        return self._study.exhausted or self._has_tried_all

    def _untried(self) -> dict[str, Any] | None:
        """A suggestion of a finite space that has not been proposed; None if there is none."""
        in_training = {each.variant.variant_id for each in self._open}
        for params in all_params(self._sweep):
            variant, _ = self._study.variant_of(params)
            if variant is not None and variant.variant_id not in in_training and self._ending(variant) is None:
                return params
        return None

    def _next_open(self) -> _Open | None:
        """Next proposal with trials to train; None where the space is exhausted."""
        for fruitless in range(_MAX_FRUITLESS):
            if self._is_at_end:
                return None
            if self._may_enumerate and fruitless >= _FEW_FRUITLESS:  # the sampler looks where it was: lead it on
                params = self._untried()
                if params is None:
                    self._has_tried_all = not self._open
                    return None
                self._study.ask_for(params)
            proposal = self._study.propose()
            if (opened := self._opened(proposal)) is not None:
                return opened
        raise SpecError(
            f"the search proposed {_MAX_FRUITLESS} variants in a row that are infeasible or already done; "
            "widen `space`, relax `require` or lower `search.num_trials`"
        )

    def _opened(self, proposal: Proposal) -> _Open | None:
        """The proposal with its trials to train; None if there are none, and then the sampler has the reason."""
        variant = proposal.variant
        if variant is None:
            self._study.tell(proposal, ProposalResult("infeasible"))
            return None
        if any(each.variant.variant_id == variant.variant_id for each in self._open):
            self._study.tell(proposal, ProposalResult("failed"))  # it is in training: no result yet
            return None
        self._keys |= set(self._trial_ids(variant))
        if (known := self._ending(variant)) is not None:
            self._study.tell(proposal, known)
            return None
        reasons, cost = ([proposal.reason], {}) if proposal.reason else self._plan.reasons_against(variant)
        if reasons:
            self._write_infeasible(proposal, variant, "; ".join(reasons), cost)
            self._study.tell(proposal, ProposalResult("infeasible"))
            return None
        self._spent += 1
        opened = _Open(proposal, variant, deque())
        for spec in (variant.setting.with_seed(seed) for seed in self._sweep.seeds):
            if self._records.find(trial_id(spec)) is None:
                assignment = self._records.assignment(spec, variant, proposal)
                assignment = replace(assignment, numerics=self._plan.form_of(variant.setting).numerics)
                served = self._lookup(spec) if self._lookup else None
                if served is None:
                    opened.waiting.append(assignment)
                else:
                    self._records.add(assignment, reused_record(assignment, served))
        self._open.append(opened)
        if not opened.waiting:
            end = self._ending(variant)
            assert end is not None, "every seed has a record"
            self._close(opened, end)
        return opened

    def _hand_out(self, opened: _Open) -> Assignment:
        assignment = opened.waiting.popleft()
        opened.running.add(assignment.trial_id)
        return assignment

    def _close(self, opened: _Open, end: ProposalResult) -> None:
        self._open.remove(opened)
        self._study.tell(opened.proposal, end)

    def _trial_ids(self, variant: Variant) -> list[str]:
        return [trial_id(variant.setting.with_seed(seed)) for seed in self._sweep.seeds]

    def _ending(self, variant: Variant) -> ProposalResult | None:
        found = [self._records.find_whole(key) for key in self._trial_ids(variant)]
        return proposal_result([record for record in found if record], self._sweep)

    def _is_infeasible(self, variant: Variant) -> bool:
        found = [self._records.find(key) for key in self._trial_ids(variant)]
        return any(record is not None and record.status == "infeasible" for record in found)

    def _write_infeasible(self, proposal: Proposal, variant: Variant, reason: str, cost: Mapping[str, float]) -> None:
        spec = variant.setting.with_seed(self._sweep.seeds[0])
        assignment = self._records.assignment(spec, variant, proposal)
        self._records.add(assignment, infeasible_record(assignment, reason, cost))
