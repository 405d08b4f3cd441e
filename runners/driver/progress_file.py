"""Observer that writes `progress.jsonl`, from which `archsweep status` and `watch` read in other shells."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from results import ProgressEvent, ProgressWriter, TrialRecord
from runners.trials.assignment import Assignment, Place

__all__ = ["ProgressFile"]


class ProgressFile:
    """Observer that writes `progress.jsonl`."""

    def __init__(self, writer: ProgressWriter) -> None:
        self._writer = writer

    def on_trial_start(self, assignment: Assignment) -> None:
        self._write(assignment, "start", {})

    def on_trial_placed(self, assignment: Assignment, place: Place) -> None:
        self._write(assignment, "place", {}, worker=place.host, gpus=place.gpus)

    def on_epoch_end(self, assignment: Assignment, metrics: Mapping[str, float]) -> None:
        self._write(assignment, "epoch", metrics)

    def on_trial_end(self, assignment: Assignment, record: TrialRecord) -> None:
        self._write(assignment, "end", {})

    def stopped(self, assignments: Iterable[Assignment]) -> None:
        """Record that these trials were left unfinished, without a record in the ledger."""
        for assignment in assignments:
            self._write(assignment, "end", {})

    def _write(self, assignment: Assignment, event: str, metrics: Mapping[str, float], **place: Any) -> None:
        name, seed = assignment.variant.name, assignment.spec.seed
        self._writer.append(ProgressEvent(time.time(), assignment.trial_id, name, seed, event, dict(metrics), **place))
