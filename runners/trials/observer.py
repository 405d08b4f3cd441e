"""Callbacks of a running sweep, implemented by the trackers, the live view, the cache and the progress file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from results import TrialRecord
from runners.trials.assignment import Assignment, Place

__all__ = ["Observer"]


class Observer(Protocol):
    """Callbacks for the events of trials. A trial whose variant was given up ends without a start."""

    def on_trial_start(self, assignment: Assignment) -> None: ...
    def on_trial_placed(self, assignment: Assignment, place: Place) -> None: ...
    def on_epoch_end(self, assignment: Assignment, metrics: Mapping[str, float]) -> None: ...
    def on_trial_end(self, assignment: Assignment, record: TrialRecord) -> None: ...
