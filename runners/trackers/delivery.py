"""What a tracker has been told, so that it is told everything once: also after a kill, and also what nobody watched.

A run that was delivered whole is noted in `<run>/tracking/<tracker>.jsonl`. Records that are not there are caught up
on: those of trials taken over from elsewhere, of proposals that were infeasible, of a time when the tracker failed or
was not asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from results.store.record_summary import RecordSummary
from results.store.records import TrialRecord
from results.store.run_layout import RunDir
from runners.trackers.contract import TrackedRun, TrackedSweep, Tracker, run_end, run_of
from search_space.schema.tracking import TrackerSpec

__all__ = ["Delivered", "Delivery"]


class Delivered:
    """The runs that a tracker has in full. Of another place (project, server, folder) it has none."""

    def __init__(self, options: TrackerSpec, run_dir: RunDir) -> None:
        self._path = run_dir.tracker(options.name).delivered
        place = options.model_dump_json(exclude={"tags"})
        self._place = hashlib.sha256(place.encode()).hexdigest()[:12]
        self._is_torn = False
        self._ids = set(self._read())

    def lacks(self, record: TrialRecord | RecordSummary) -> bool:
        """Whether the record is of an ended trial that the tracker does not have."""
        return record.status != "preempted" and _key(record.trial_id, record.attempt) not in self._ids

    def expect(self, record: TrialRecord | RecordSummary) -> None:
        """It is on its way: who looks here for what is lacking need not think of it again."""
        if record.status != "preempted":
            self._ids.add(_key(record.trial_id, record.attempt))

    def has(self, told: Mapping[str, Any]) -> bool:
        return _key(told["trial_id"], told["attempt"]) in self._ids

    def add(self, record: TrialRecord) -> None:
        key = _key(record.trial_id, record.attempt)
        self._ids.add(key)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write("\n" * self._is_torn + json.dumps({"place": self._place, "run": key}) + "\n")
        self._is_torn = False

    def _read(self) -> Iterable[str]:
        if not self._path.is_file():
            return
        text = self._path.read_text(encoding="utf-8", errors="replace")
        self._is_torn = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                if entry["place"] == self._place:
                    yield entry["run"]
            except (ValueError, KeyError, TypeError):  # a torn line: that run is told again
                continue


def _key(trial_id: str, attempt: int) -> str:
    return f"{trial_id}-{attempt}"


class Delivery:
    """Tells one tracker what happens, in the process of the tracker."""

    def __init__(self, tracker: Tracker, sweep: TrackedSweep, delivered: Delivered) -> None:
        self._tracker = tracker
        self._sweep = sweep
        self._delivered = delivered
        self._open: dict[str, tuple[TrackedRun, int]] = {}  # and the last epoch that the tracker has

    def start(self, told: Mapping[str, Any]) -> None:
        """A trial begins. `told` has the fields of a record that are known by then."""
        key = _key(told["trial_id"], told["attempt"])
        if self._delivered.has(told) or key in self._open:
            return
        run = run_of(told, self._sweep)
        self._open[key] = (run, self._tracker.start(run))

    def epoch(self, told: Mapping[str, Any], point: Mapping[str, float]) -> None:
        """An epoch ended. One that the tracker has, because the trial went back to a checkpoint, is not told again."""
        key = _key(told["trial_id"], told["attempt"])
        if key not in self._open:
            return
        run, last = self._open[key]
        epoch = int(point["epoch"])
        if epoch > last:
            self._tracker.epoch(run, epoch, {name: value for name, value in point.items() if name != "epoch"})
            self._open[key] = (run, epoch)

    def end(self, record: TrialRecord) -> None:
        """A trial has a record; whatever of it has not been told yet is told now."""
        names = {"trial_id", "variant_id", "variant", "seed", "attempt", "role", "spec", "params"}
        told = record.model_dump(include=names)
        if self._delivered.has(told):
            return
        self.start(told)
        for point in record.curve:
            self.epoch(told, point)
        run, _ = self._open.pop(_key(record.trial_id, record.attempt))
        self._tracker.end(run, run_end(record))
        if record.status != "preempted":
            self._delivered.add(record)

    def catch_up(self, records: Iterable[TrialRecord]) -> None:
        """Tells everything that is in the ledger and not at the tracker."""
        for record in records:
            if self._delivered.lacks(record):
                self.end(record)

    def table(self, files: Iterable[Path]) -> None:
        self._tracker.table([file for file in files if file.is_file()])

    def close(self) -> None:
        """The driver ends, or has died: what runs is interrupted."""
        for run, _ in self._open.values():
            self._tracker.interrupt(run)
        self._open.clear()
        self._tracker.close()
