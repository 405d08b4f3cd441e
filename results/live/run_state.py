"""The state of a run in one word, and the figures of its line in the overview."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal

from results.live.found_runs import short_key
from results.store.progress import UnfinishedTrial
from results.store.record_summary import RecordSummary
from results.store.records import TrialRecord
from results.store.run import Run, RunSummary
from results.store.run_layout import RunDir
from results.views.status import RunStatus, run_status

__all__ = ["STATES", "RunState", "State", "iso_time", "last_change", "state_of"]

State = Literal["running", "finished", "interrupted", "crashed"]
STATES: dict[State, str] = {
    "running": "a driver is at work",
    "finished": "every planned trial has its outcome",
    "interrupted": "no driver is at work, and planned trials are missing",
    "crashed": "the driver died while trials were running",
}


@dataclass(frozen=True)
class RunState:
    """One look at a run.

    Attributes:
        run: without its progress events where no driver is at work: they take more memory than all else.
        begun: trials that began and have no record, in the order of their latest start.
        changed: when ledger or progress were last written, in seconds since 1970; None where neither exists.
    """

    run: Run | RunSummary
    status: RunStatus
    state: State
    begun: tuple[UnfinishedTrial, ...]
    changed: float | None

    @property
    def shown_trials(self) -> tuple[UnfinishedTrial, ...]:
        """Trials with a live curve: the running ones, or those that a dead driver left."""
        return self.status.running if self.run.driver else tuple(each for each in self.begun if not each.has_ended)

    @property
    def num_done(self) -> int:
        """Ended trials of the plan, or of the tuning that precedes it."""
        status = self.status
        if status.tuning and status.is_tuning:
            return status.tuning.num_done
        return status.num_planned - status.num_missing

    @property
    def num_planned(self) -> int:
        """What `num_done` is out of."""
        status = self.status
        return status.tuning.num_planned if status.tuning and status.is_tuning else status.num_planned

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials by what became of them, without zeros."""
        status = self.status
        found = {
            "completed": status.num_completed,
            "running": len(status.running),
            "pruned": status.num_pruned,
            "failed": status.num_failed,
            "infeasible": status.num_infeasible,
            "preempted": status.num_preempted,
            "interrupted": status.num_interrupted,
        }
        return {name: count for name, count in found.items() if count}

    @cached_property
    def records(self) -> Mapping[str, TrialRecord | RecordSummary]:
        """Key of a trial (`short_key` of its id) -> its deciding record, trials that tuned a variant included."""
        every = {**self.run.tuning, **self.run.deciding}
        return {short_key(trial_id): record for trial_id, record in every.items()}

    @cached_property
    def unfinished(self) -> Mapping[str, UnfinishedTrial]:
        """Key of a trial -> a trial without a record."""
        return {short_key(trial.trial_id): trial for trial in self.begun}


def state_of(run: Run | RunSummary, *, now: float) -> RunState:
    """The state of an opened run at the time `now` (seconds since 1970)."""
    status = run_status(run, now=now)
    begun = run.unfinished
    if run.driver:
        state: State = "running"
    elif any(not trial.has_ended for trial in begun):  # a driver that ends in order records an end for every trial
        state = "crashed"
    else:
        state = "interrupted" if status.num_missing else "finished"
    kept = run if run.driver else replace(run, progress=())
    return RunState(kept, status, state, begun, last_change(run.files))


def last_change(files: RunDir) -> float | None:
    """When the ledger or the progress file was last written, in seconds since 1970."""
    times = []
    for path in (files.ledger, files.progress, files.plan):
        try:
            times.append(os.stat(path).st_mtime)
        except OSError:
            continue
    return max(times, default=None)


def iso_time(seconds: float) -> str:
    """`2026-12-01T13:33:37Z`, for the `datetime` of a page; empty for a time that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return ""
