"""Delivery of events and records to a tracker, each once: also after a kill, and also records without events.

A run that was delivered whole is noted in `<run>/tracking/<tracker>.jsonl`. Records that are not there are delivered
later: those of trials taken over from elsewhere, of proposals that were infeasible, of a time when the tracker failed
or was not configured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from results.store.links import opener_within
from results.store.record_summary import RecordSummary
from results.store.records import TrialRecord
from results.store.run_layout import RunDir
from runners.trackers.contract import TrackedRun, TrackedSweep, Tracker, run_end, run_of
from search_space.schema.tracking import TrackerSpec

__all__ = ["Delivered", "Delivery"]


class Delivered:
    """The runs that a tracker has in full, at its present place (project, server, folder)."""

    def __init__(self, options: TrackerSpec, run_dir: RunDir) -> None:
        self._path = run_dir.tracker(options.name).delivered
        self._opener = opener_within(run_dir)
        place = options.model_dump_json(exclude={"tags"})
        self._place = hashlib.sha256(place.encode()).hexdigest()[:12]
        self._is_torn = False
        self._ids = set(self._read())

    def lacks(self, record: TrialRecord | RecordSummary) -> bool:
        """Whether the record is of an ended trial that the tracker does not have."""
        return record.status != "preempted" and _key(record.trial_id, record.attempt) not in self._ids

    def expect(self, record: TrialRecord | RecordSummary) -> None:
        """Mark the record as sent, so that `lacks` does not report it again."""
        if record.status != "preempted":
            self._ids.add(_key(record.trial_id, record.attempt))

    def has(self, fields: Mapping[str, Any]) -> bool:
        return _key(fields["trial_id"], fields["attempt"]) in self._ids

    def add(self, record: TrialRecord) -> None:
        key = _key(record.trial_id, record.attempt)
        self._ids.add(key)
        with open(self._path, "a", encoding="utf-8", opener=self._opener) as stream:
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
            except (ValueError, KeyError, TypeError):  # a torn line: that run is delivered again
                continue


def _key(trial_id: str, attempt: int) -> str:
    return f"{trial_id}-{attempt}"


class Delivery:
    """Delivery to one tracker, in the process of the tracker."""

    def __init__(self, tracker: Tracker, sweep: TrackedSweep, delivered: Delivered) -> None:
        self._tracker = tracker
        self._sweep = sweep
        self._delivered = delivered
        self._open: dict[str, tuple[TrackedRun, int]] = {}  # and the last epoch that the tracker has

    def start(self, fields: Mapping[str, Any]) -> None:
        """Start the run of a trial. `fields` are those of its record that are known by then."""
        key = _key(fields["trial_id"], fields["attempt"])
        if self._delivered.has(fields) or key in self._open:
            return
        run = run_of(fields, self._sweep)
        self._open[key] = (run, self._tracker.start(run))

    def epoch(self, fields: Mapping[str, Any], point: Mapping[str, float]) -> None:
        """Deliver an epoch, unless the tracker has it because the trial went back to a checkpoint."""
        key = _key(fields["trial_id"], fields["attempt"])
        if key not in self._open:
            return
        run, last = self._open[key]
        epoch = int(point["epoch"])
        if epoch > last:
            self._tracker.epoch(run, epoch, {name: value for name, value in point.items() if name != "epoch"})
            self._open[key] = (run, epoch)

    def end(self, record: TrialRecord) -> None:
        """Deliver a record: everything of its trial that was not delivered yet."""
        names = {"trial_id", "variant_id", "variant", "seed", "attempt", "role", "spec", "params"}
        fields = record.model_dump(include=names)
        if self._delivered.has(fields):
            return
        self.start(fields)
        for point in record.curve:
            self.epoch(fields, point)
        run, _ = self._open.pop(_key(record.trial_id, record.attempt))
        self._tracker.end(run, run_end(record))
        if record.status != "preempted":
            self._delivered.add(record)

    def catch_up(self, records: Iterable[TrialRecord]) -> None:
        """Deliver the records of the ledger that the tracker lacks."""
        for record in records:
            if self._delivered.lacks(record):
                self.end(record)

    def table(self, files: Iterable[Path]) -> None:
        self._tracker.table([file for file in files if file.is_file()])

    def close(self) -> None:
        """Interrupt the open runs: the driver ends, or has died."""
        for run, _ in self._open.values():
            self._tracker.interrupt(run)
        self._open.clear()
        self._tracker.close()
