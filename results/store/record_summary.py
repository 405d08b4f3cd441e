"""Summaries of records: the fields that decide the status of a trial, without its spec and curve.

A record takes kilobytes, its summary a few hundred bytes. Code that only needs the state of a run (`archsweep
status`, a driver at work) keeps summaries, so that a hundred thousand trials fit into little memory.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol, TypeVar

import msgspec

from results.plan.stored import Origin
from results.store.ledger_line import LedgerLine
from results.store.records import Failure, Status, TrialRecord

__all__ = ["AnyRecord", "Attempt", "RecordSummary", "counting", "latest_by_trial", "origin_key", "summarize"]


class RecordSummary(msgspec.Struct, frozen=True, gc=False):
    """Summary of a record: its fields of the same names; `failure` without its traceback and its epoch."""

    trial_id: str
    variant_id: str
    variant: str
    seed: int
    status: Status
    role: str
    attempt: int
    session: str
    finished_at: str
    metrics: Mapping[str, float]
    failure: Failure | None
    data: str
    code: str
    software: str

    @property
    def origin(self) -> Origin:
        """Data, code and software of the record."""
        return Origin(data=self.data, code=self.code, software=self.software)


class Attempt(Protocol):
    """The fields that decide between several records of one trial, and whether one counts at all."""

    @property
    def trial_id(self) -> str: ...
    @property
    def status(self) -> Status: ...
    @property
    def attempt(self) -> int: ...
    @property
    def finished_at(self) -> str: ...
    @property
    def data(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def software(self) -> str: ...


AnyRecord = TypeVar("AnyRecord", bound=TrialRecord | RecordSummary)
_Attempt = TypeVar("_Attempt", bound=Attempt)


def summarize(record: TrialRecord | LedgerLine | RecordSummary) -> RecordSummary:
    """The summary of a record or of a decoded line of the ledger; a summary is returned as it is."""
    if isinstance(record, RecordSummary):
        return record
    failure = record.failure and Failure(type=record.failure.type, message=record.failure.message)
    # The same few texts in a hundred thousand records: one copy of each.
    return RecordSummary(
        record.trial_id,
        sys.intern(record.variant_id),
        sys.intern(record.variant),
        record.seed,
        record.status,
        record.role,
        record.attempt,
        sys.intern(record.session),
        record.finished_at,
        record.metrics,
        failure,
        sys.intern(record.data),
        sys.intern(record.code),
        sys.intern(record.software),
    )


def origin_key(of: Attempt | Origin) -> tuple[str, str, str]:
    """Data, code and software of a record or an origin, for comparisons of a hundred thousand of them."""
    return of.data, of.code, of.software


def counting(records: Iterable[_Attempt], superseded: Collection[Origin]) -> Iterable[_Attempt]:
    """The records whose origin is not superseded."""
    if not superseded:
        return records
    left_out = set(map(origin_key, superseded))
    return (record for record in records if origin_key(record) not in left_out)


def latest_by_trial(records: Iterable[_Attempt], superseded: Collection[Origin] = ()) -> dict[str, _Attempt]:
    """The deciding record of every trial id: a completed one if there is any, else the latest attempt.

    Preempted ones decide nothing: their trial is still to be done. Neither do those of a superseded origin.

    Does not depend on the order of the records, so that a merged or sorted ledger gives the same table.
    """
    deciding: dict[str, _Attempt] = {}
    for record in counting(records, superseded):
        if record.status == "preempted":
            continue
        other = deciding.setdefault(record.trial_id, record)
        if other is not record and _decides_over(record, other):
            deciding[record.trial_id] = record
    return deciding


def _decides_over(record: Attempt, other: Attempt) -> bool:
    rank, rank_of_other = _rank(record), _rank(other)
    return rank > rank_of_other if rank != rank_of_other else _tie_break(record) > _tie_break(other)


def _rank(record: Attempt) -> tuple[bool, int, str]:
    return record.status == "completed", record.attempt, record.finished_at


def _tie_break(record: Attempt) -> tuple[str, str]:
    # Two records of one second: any order will do, as long as summaries and whole records agree on it.
    assert isinstance(record, TrialRecord | RecordSummary)
    summary = summarize(record)
    fields = msgspec.structs.asdict(summary)
    fields["failure"] = summary.failure and summary.failure.model_dump()
    # Without the curve, which a table does not read.
    rest = record.model_dump_json(exclude={"curve"}) if isinstance(record, TrialRecord) else ""
    return json.dumps(fields, sort_keys=True), rest
