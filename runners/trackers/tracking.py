"""Observer that sends events to one process per tracker and never waits for it: the driver's side of the trackers.

No tracker can stop the sweep: events pass through a queue, a tracker that fails or falls too far behind is left out
with one warning, and what it has not got by then is delivered at the next start.
"""

from __future__ import annotations

import json
import queue
import secrets
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archsweep.own_packages import child_command
from results import RecordSummary, TrialRecord
from results.store.files import atomic_write
from results.store.links import folder_within, opener_within
from results.store.run_layout import RunDir
from runners.trackers.delivery import Delivered
from runners.trials.assignment import Assignment
from search_space import SpecError, Sweep, variant_id
from search_space.parsing.secrets import masked
from search_space.schema.tracking import TrackerSpec

__all__ = ["Tracking"]

_LONGEST_QUEUE = 100_000
_SOON = 5.0  # seconds after which the reason of the wait is printed
_START = "from runners.trackers.process import main; main()"


class Tracking:
    """Observer that passes events on to the trackers that the sweep names; a context manager for one session.

    Args:
        summaries: of the ledger, which grow with it.
        say: called with messages for the user, one line each, at any time and from other threads.
    """

    def __init__(
        self, sweep: Sweep, run_dir: RunDir, *, summaries: Sequence[RecordSummary], say: Callable[[str], None]
    ) -> None:
        self._summaries = summaries
        self._say = say
        self._feeds: list[_Feed] = []
        if not sweep.track:
            return
        try:
            token = _token(run_dir)
        except (SpecError, OSError) as err:
            say(f"warning: no tracker watches this run: {err}")
            return
        for options in sweep.track:
            job = {
                "options": options.model_dump(mode="json"),
                "sweep": sweep.name,
                "run_dir": str(run_dir),
                "token": token,
                "settings": json.loads(masked(sweep.model_dump_json(by_alias=True))),
            }
            self._feeds.append(_Feed(options, job, run_dir, say))
        self._catch_up()

    def on_trial_start(self, assignment: Assignment) -> None:
        if self._feeds:
            fields = _ids(assignment)
            fields |= {
                "variant": assignment.variant.name,
                "variant_id": variant_id(assignment.spec),
                "seed": assignment.spec.seed,
                "role": assignment.role,
                "spec": assignment.spec.model_dump(mode="json"),
                "params": dict(assignment.proposal.params) if assignment.proposal else {},
            }
            self._put({"event": "start", "fields": fields})

    def on_trial_placed(self, assignment: Assignment, place: object) -> None: ...

    def on_epoch_end(self, assignment: Assignment, metrics: Mapping[str, float]) -> None:
        if self._feeds:
            self._put({"event": "epoch", "fields": _ids(assignment), "metrics": dict(metrics)})

    def on_trial_end(self, assignment: Assignment, record: TrialRecord) -> None:
        if self._feeds:
            self._put({"event": "end", "record": record.model_dump_json()})
            for feed in self._feeds:
                feed.delivered.expect(record)

    def close(self, *, patience: float) -> None:
        """End the session, whose tables are written: trackers get them, and `patience` seconds to finish."""
        if not self._feeds:
            return
        self._catch_up()
        for feed in self._feeds:
            if feed.is_used:
                feed.put(json.dumps({"event": "table"}))
            feed.finish()
        for feed in self._feeds:
            feed.wait(patience)

    def _catch_up(self) -> None:
        for feed in self._feeds:
            lacking = [summary for summary in self._summaries if feed.delivered.lacks(summary)]
            if lacking:
                feed.put(json.dumps({"event": "catch_up"}))
            for summary in lacking:
                feed.delivered.expect(summary)

    def _put(self, event: Mapping[str, Any]) -> None:
        line = json.dumps(event)
        for feed in self._feeds:
            feed.put(line)


class _Feed:
    """The process of one tracker, started with its first event. One thread writes to it and one reads from it."""

    def __init__(
        self, options: TrackerSpec, job: Mapping[str, Any], run_dir: RunDir, say: Callable[[str], None]
    ) -> None:
        self.name = options.name
        self.delivered = Delivered(options, run_dir)
        self.is_used = False
        self._job = job
        self._log = run_dir.tracker(self.name).log
        self._opener = opener_within(run_dir)
        self._say = say
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._is_left_out = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None

    def put(self, line: str) -> None:
        if self._is_left_out.is_set():
            return
        if not self.is_used:
            self.is_used = True
            self._start()
        if self._queue.qsize() > _LONGEST_QUEUE:
            self._leave_out("it does not keep up")
            if self._process is not None:
                self._process.kill()
        else:
            self._queue.put(line)

    def finish(self) -> None:
        """End the queue: no event follows."""
        self._queue.put(None)

    def wait(self, patience: float) -> None:
        """Wait for the process; one that takes longer than `patience` seconds is ended."""
        if self._process is None or self._listener is None:
            return
        try:
            self._listener.join(min(_SOON, patience))
            if self._listener.is_alive() and patience > _SOON:
                self._say(f"waiting for {self.name} to finish, {patience:g} s at most; Ctrl-C: no longer")
                self._listener.join(patience - _SOON)
        except KeyboardInterrupt:
            patience = 0
        if self._listener.is_alive():
            reason = f"it was not done {patience:g} s after the sweep" if patience else "the wait was interrupted"
            self._leave_out(reason)
            self._process.kill()
        self._process.wait()

    def _start(self) -> None:
        try:
            with open(self._log, "a", encoding="utf-8", opener=self._opener) as log:
                process = subprocess.Popen(
                    child_command(_START),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    encoding="utf-8",
                    start_new_session=True,  # Ctrl-C on the terminal is for the driver
                )
        except OSError as err:
            self._leave_out(str(err))
            return
        self._process = process
        self._queue.put(json.dumps(self._job))
        threading.Thread(target=self._write, args=(process,), name=f"to {self.name}", daemon=True).start()
        self._listener = threading.Thread(target=self._listen, args=(process,), name=f"from {self.name}", daemon=True)
        self._listener.start()

    def _write(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        try:
            while (line := self._queue.get()) is not None:
                process.stdin.write(line + "\n")
                process.stdin.flush()
            process.stdin.close()
        except OSError:  # the process has ended; the listener reports why
            return

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                said = json.loads(line)
                if "note" in said:
                    self._say(said["note"])
                else:
                    self._leave_out(said["problem"])
        if process.wait() != 0:
            self._leave_out(f"its process ended with {process.returncode}, and {self._log} may say why")

    def _leave_out(self, reason: str) -> None:
        if not self._is_left_out.is_set():
            self._is_left_out.set()
            later = "the sweep goes on, and the next start sends it what is missing"
            self._say(f"warning: {self.name} is left out: {reason} ({later})")


def _ids(assignment: Assignment) -> dict[str, Any]:
    return {"trial_id": assignment.trial_id, "attempt": assignment.attempt}


def _token(run_dir: RunDir) -> str:
    path = run_dir.tracking_token
    if not path.is_file():
        folder_within(path.parent, run_dir)
        atomic_write(path, secrets.token_hex(4) + "\n")
    return path.read_text(encoding="utf-8").strip()
