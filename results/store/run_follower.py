"""Repeated reading of a run while it goes on (`archsweep watch`): each look reads only what was appended since.

A file that shrank, was replaced or reads differently just before the place reached is read from its beginning.
"""

from __future__ import annotations

import os
from typing import IO

from results.store.driver_lock import running_driver
from results.store.files import refuse_special_files
from results.store.ledger import LedgerScan, open_ledger
from results.store.progress import ProgressEvent, events_in
from results.store.record_summary import RecordSummary, summarize
from results.store.run import Run, RunSummary, read_plan
from results.store.run_layout import RunDir

__all__ = ["RunFollower"]

_REMEMBERED = 4096  # more than a line: the last fields of two records are often equal


class RunFollower:
    """Reader of one run directory for repeated looks."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._run_dir = RunDir.of(path)
        self._ledger = _Place()
        self._lines = 0
        self._summaries: list[RecordSummary] = []
        self._progress = _Place()
        self._events: list[ProgressEvent] = []
        self.bytes_read = 0
        """Bytes of ledger and progress that the latest look read."""

    def look(self) -> RunSummary | Run:
        """The present run, as `open_summary` returns it.

        Raises:
            SpecError: as `Run.open`.
        """
        self.bytes_read = 0
        refuse_special_files(self._run_dir)
        plan = read_plan(self._run_dir)
        if plan.design == "search":
            return Run.open(self._run_dir, curves=False)
        # Checked first: a driver that ends while we read must not turn its last trials into interrupted ones.
        driver = running_driver(self._run_dir)
        self._read_progress()
        summaries, torn = self._read_ledger()
        plan = read_plan(self._run_dir)
        return RunSummary(self._run_dir.path, plan, summaries, torn, tuple(self._events), driver)

    def _read_progress(self) -> None:
        try:
            with open(self._run_dir.progress, "rb") as stream:
                if not self._progress.is_in(stream):
                    self._events.clear()
                    self._progress = _Place()
                stream.seek(self._progress.end)
                end = self._progress.end
                whole: list[bytes] = []
                for line in stream:
                    if not line.endswith(b"\n"):  # being written: next time
                        break
                    whole.append(line)
                    end += len(line)
                self.bytes_read += end - self._progress.end
                self._events += [event for _, event in events_in(whole) if event is not None]
                self._progress.move(stream, end)
        except OSError:
            self._events.clear()
            self._progress = _Place()

    def _read_ledger(self) -> tuple[tuple[RecordSummary, ...], bool]:
        path = self._run_dir.ledger
        with open_ledger(path) as stream:
            if stream is None or not self._ledger.is_in(stream):
                self._summaries.clear()
                self._ledger, self._lines = _Place(), 0
            if stream is None:
                return (), False
            begin = self._ledger.end
            stream.seek(begin)
            scan = LedgerScan(path, stream, lines=self._lines, end=begin)
            found = list(map(summarize, scan))
            unterminated = [] if scan.torn or scan.has_line_feed else [found.pop()]
            self._summaries += found
            self.bytes_read += scan.end - begin
            self._lines = scan.lines
            self._ledger.move(stream, scan.end)
            return (*self._summaries, *unterminated), scan.torn


class _Place:
    """The offset up to which a file was read, with the means to recognise the file."""

    def __init__(self) -> None:
        self.end = 0
        self._file: tuple[int, int] | None = None
        self._before = b""

    def move(self, stream: IO[bytes], end: int) -> None:
        self.end = end
        self._file = _identity(stream)
        self._before = _bytes_before(stream, end)

    def is_in(self, stream: IO[bytes]) -> bool:
        return self._file == _identity(stream) and self._before == _bytes_before(stream, self.end)


def _identity(stream: IO[bytes]) -> tuple[int, int]:
    found = os.fstat(stream.fileno())
    return found.st_dev, found.st_ino


def _bytes_before(stream: IO[bytes], end: int) -> bytes:
    begin = max(0, end - _REMEMBERED)
    stream.seek(begin)
    return stream.read(end - begin)
