"""Writing `progress.jsonl`, with its compaction.

Only the events of trials without a record are needed for long: `archsweep status` and `watch` show their progress. Of
the others the latest suffice, for the pace. So once the file has grown to some megabytes its writer replaces it by the
lines still needed. A concurrent reader sees the old file or the new one.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Mapping, Sequence
from typing import IO

from results.store.files import readable_write_errors
from results.store.links import opener_within
from results.store.progress import EVENTS, ProgressEvent, events_in, unfinished_trials
from results.store.record_summary import RecordSummary, latest_by_trial
from results.store.run_layout import RunDir, temporary_path

__all__ = ["ProgressWriter"]

_LONGEST = 4 * 2**20
_LATEST = 2**20  # bytes of latest events that are kept of any trial


class ProgressWriter:
    """Writer that appends events; a context manager. The caller holds the run's lock.

    Args:
        summaries: of the ledger, which grow with it: they decide which trials have a record.
        longest: bytes from which on the file is shortened.
        latest: bytes of the latest events that are then kept, besides those of trials without a record.
    """

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        summaries: Sequence[RecordSummary] = (),
        *,
        longest: int = _LONGEST,
        latest: int = _LATEST,
    ) -> None:
        self.path = RunDir.of(run_dir).progress
        self._opener = opener_within(run_dir)
        self._summaries = summaries
        self._longest = longest
        self._latest = latest
        self._limit = longest
        self._size = 0
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> ProgressWriter:
        with readable_write_errors(self.path):
            self._open()
            self._shorten()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def append(self, event: ProgressEvent) -> None:
        """Write the event so that other shells see it immediately."""
        assert self._stream is not None, "append outside of the `with` block"
        assert event.event in EVENTS, event.event
        with readable_write_errors(self.path):
            self._size += self._stream.write(_line(event))
            self._stream.flush()
            self._shorten()

    def _open(self) -> None:
        self._stream = open(self.path, "a+b", opener=self._opener)  # noqa: SIM115 - closed by __exit__
        if self._stream.tell():
            self._stream.seek(-1, 2)
            if self._stream.read(1) != b"\n":  # torn by a killed driver: our first event starts a new line
                self._stream.write(b"\n")
        self._size = self._stream.tell()

    def _shorten(self) -> None:
        """Replace the file by a shorter one where it has grown to twice its necessary size."""
        if self._size <= self._limit:
            return
        assert self._stream is not None
        temporary = temporary_path(self.path)
        # A file that cannot be replaced stays as it is: a view must not fail a run.
        with contextlib.suppress(OSError):
            with open(self.path, "rb") as lines:
                kept = _still_of_use(lines, latest_by_trial(self._summaries), latest=self._latest)
            try:
                temporary.unlink(missing_ok=True)
                with open(temporary, "xb") as stream:  # not `atomic_write`: it may be lost, and need not be synced
                    stream.write(kept)
                os.replace(temporary, self.path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            self._stream.close()
            self._open()
        self._limit = max(self._longest, 2 * self._size)


def _still_of_use(lines: IO[bytes], deciding: Mapping[str, RecordSummary], *, latest: int) -> bytes:
    tail: deque[tuple[int, bytes, float]] = deque()
    tail_bytes = 0
    open_trials: list[tuple[int, bytes, ProgressEvent]] = []
    for number, (line, event) in enumerate(events_in(lines)):
        if event is None or event.event == "cut":
            continue
        summary = deciding.get(event.trial_id)
        if summary is None or summary.status == "failed":  # a failed one may have begun again
            open_trials.append((number, line, event))
        tail.append((number, line, event.t))
        tail_bytes += len(line)
        while tail_bytes > latest:
            tail_bytes -= len(tail.popleft()[1])
    unfinished = {trial.trial_id for trial in unfinished_trials((event for *_, event in open_trials), deciding)}
    kept = {number: line for number, line, event in open_trials if event.trial_id in unfinished}
    kept |= {number: line for number, line, _ in tail}
    cut = [_line(ProgressEvent(tail[0][2], "", "", 0, "cut"))] if tail else []
    return b"".join([*cut, *(kept[number] for number in sorted(kept))])


def _line(event: ProgressEvent) -> bytes:
    fields = {name: value for name, value in vars(event).items() if value not in ("", (), {})}
    return json.dumps(fields).encode() + b"\n"
