"""Deciding record of each trial of a run, and the attempt numbers of further trials."""

from __future__ import annotations

from collections import Counter

from results import LedgerWriter, RecordSummary, TrialRecord, latest_by_trial, read_ledger
from results.plan.stored import Origin
from runners.cache.origin import Origins
from runners.trials.assignment import Assignment, TrialRole
from runners.trials.proposal import Proposal
from search_space import TrialSpec, Variant, trial_id

__all__ = ["TrialRecords"]


class TrialRecords:
    """Records of one role: those of the ledger, and those that are added.

    Args:
        ledger: opened and locked by the caller.
        retry: statuses that run again (`failed`).
        session: id of this start of the driver (goes into every new record).
        role: purpose of the trials (goes into every new record); records of another role do not count.
        keeps_whole: keep whole records in memory, not their summaries alone.
        origins: the origin of each trial, which goes into every new record.

    Attributes:
        decisive: the summary of the deciding record of each trial id.
    """

    def __init__(
        self,
        ledger: LedgerWriter,
        *,
        retry: frozenset[str],
        session: str,
        role: TrialRole,
        keeps_whole: bool,
        origins: Origins | None = None,
    ) -> None:
        self._origins = origins
        self._ledger = ledger
        self._session = session
        self._role: TrialRole = role
        summaries = [summary for summary in ledger.summaries if summary.role == role]
        self.decisive: dict[str, RecordSummary] = latest_by_trial(summaries)
        self._attempts: Counter[str] = Counter(summary.trial_id for summary in summaries if summary.status == "failed")
        self._again = {key for key, summary in self.decisive.items() if summary.status in retry}
        self._under_way: set[str] = set()
        self._whole: dict[str, TrialRecord] | None = self.read() if keeps_whole else None

    def find(self, key: str) -> RecordSummary | None:
        """The summary of the record that decides a trial; None if the trial is to be trained (again)."""
        return None if key in self._again else self.decisive.get(key)

    def ended(self, key: str) -> RecordSummary | None:
        """The summary of the record that decides a trial; None also while the trial is trained again."""
        return None if key in self._under_way else self.find(key)

    def goes_on(self, key: str) -> None:
        """A trial with a record is trained once more in this session, and decides nothing until then."""
        self._under_way.add(key)

    def find_whole(self, key: str) -> TrialRecord | None:
        """The whole record that decides a trial; None as for `find`."""
        assert self._whole is not None, "only summaries are kept"
        return None if key in self._again else self._whole.get(key)

    def read(self) -> dict[str, TrialRecord]:
        """The deciding records, read from the ledger."""
        records = read_ledger(self._ledger.path).records if self.decisive else []
        mine = (record for record in records if record.role == self._role)
        return latest_by_trial(mine, self._ledger.superseded)

    def assignment(self, spec: TrialSpec, variant: Variant, proposal: Proposal | None = None) -> Assignment:
        """The next attempt at a trial."""
        key = trial_id(spec)
        self._again.discard(key)
        self._under_way.add(key)
        attempt = self._attempts[key] + 1
        return Assignment(key, spec, variant, attempt, proposal, session=self._session, role=self._role)

    def origin_of(self, spec: TrialSpec) -> Origin:
        """Data, code and software that a trial is trained with now."""
        return Origin() if self._origins is None else self._origins.of(spec)

    def add(self, assignment: Assignment, record: TrialRecord) -> TrialRecord:
        """Write a record, with the trial's origin unless it was taken over; returns what was written.

        It decides its trial, unless that was preempted.
        """
        if not record.cached_from:
            record = record.model_copy(update=self.origin_of(assignment.spec).model_dump())
        summary = self._ledger.append(record)
        if record.status == "preempted":
            return record
        self._under_way.discard(record.trial_id)
        self.decisive[record.trial_id] = summary
        if self._whole is not None:
            self._whole[record.trial_id] = record
        if record.status == "failed":
            self._attempts[record.trial_id] = max(record.attempt, self._attempts[record.trial_id])
        return record

    def repeat(self, key: str) -> None:
        """Train the trial again whatever its record says."""
        self._again.add(key)
