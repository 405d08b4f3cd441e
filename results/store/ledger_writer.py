"""Writing the ledger of a run: durable appends, one writer at a time.

No record that was reported as finished is lost, and no half-written one is read: a record is one write of one whole
line, followed by fsync; a line torn by a killed process is cut off (kept in `ledger.torn`) by the next writer, under
the lock of the run.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from types import TracebackType

from results.plan.stored import Origin
from results.store.driver_lock import DriverLock
from results.store.files import fsync_directory, readable_write_errors
from results.store.ledger import LedgerScan, is_record, open_ledger
from results.store.links import opener_within, refuse_unsafe_entries
from results.store.record_summary import RecordSummary, counting, summarize
from results.store.records import TrialRecord
from results.store.run_layout import RunDir

__all__ = ["LedgerWriter"]

_CHUNK = 2**16


class LedgerWriter:
    """The only writer of a run's ledger, as a context manager. Creates the run directory.

        with LedgerWriter(run_dir) as ledger:
            for summary in ledger.summaries: ...      # what earlier drivers left, and what was appended
            ledger.append(record)              # durable when it returns

    Only the summaries of the records stay in memory; `read_ledger(ledger.path)` gives the records themselves.
    `superseded`: origins whose records are left out of the summaries.
    `torn_bytes`: bytes of a torn last line that were cut off on opening. Appending from several threads is safe.
    """

    def __init__(self, run_dir: str | os.PathLike[str]) -> None:
        self.run_dir = RunDir.of(run_dir)
        self.path = self.run_dir.ledger
        self._opener = opener_within(self.run_dir)
        self.summaries: list[RecordSummary] = []
        self.superseded: tuple[Origin, ...] = ()
        self.torn_bytes = 0
        self._lock = DriverLock(self.run_dir.path)
        self._mutex = threading.Lock()
        self._descriptor: int | None = None
        self._size = 0
        self._is_damaged = False

    def __enter__(self) -> LedgerWriter:
        with readable_write_errors(self.run_dir.path):
            self.run_dir.path.mkdir(parents=True, exist_ok=True)
        refuse_unsafe_entries(self.run_dir)
        self._lock.acquire()
        try:
            with readable_write_errors(self.path):
                self._descriptor = self._opener(str(self.path), os.O_RDWR | os.O_CREAT | os.O_APPEND)
                fsync_directory(self.run_dir.path)
                self._repair()
            self._read()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the ledger and release the lock of the run."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._lock.release()

    def append(self, record: TrialRecord) -> RecordSummary:
        """Append the record; it is on the disk when this returns. Returns its summary, which stays in memory.

        Raises:
            SpecError: it could not be written (disk full, read-only, ...). The ledger is then as it was before.
        """
        line = record.model_dump_json().encode() + b"\n"
        summary = summarize(record)
        with self._mutex, readable_write_errors(self.path):
            assert self._descriptor is not None, "append outside of the `with` block"
            if self._is_damaged:
                self._truncate()
            try:
                _write_all(self._descriptor, line)
                os.fsync(self._descriptor)
            except BaseException:
                self._is_damaged = True
                self._truncate()
                raise
            self._size += len(line)
            self.summaries.append(summary)
        return summary

    def supersede(self, origins: Iterable[Origin]) -> None:
        """Leave the records of these origins out of `summaries`: they stay in the file and count no more."""
        self.superseded = tuple(origins)
        self.summaries[:] = list(counting(self.summaries, self.superseded))

    def _truncate(self) -> None:
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, self._size)
        self._is_damaged = False

    def _repair(self) -> None:
        """Cut a torn last line off, or terminate it where only its line feed is missing."""
        assert self._descriptor is not None
        size = os.fstat(self._descriptor).st_size
        whole, tail = _split_tail(self._descriptor, size)
        if tail and is_record(tail):
            _write_all(self._descriptor, b"\n")
        elif tail:
            with open(self.run_dir.torn_ledger, "ab", opener=self._opener) as stream:
                stream.write(tail + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            os.ftruncate(self._descriptor, whole)
            self.torn_bytes = len(tail)
        os.fsync(self._descriptor)

    def _read(self) -> None:
        """Read and check every record: a driver decides by the ledger alone."""
        with open_ledger(self.path) as stream:
            assert stream is not None
            scan = LedgerScan(self.path, stream, is_verified=True)
            self.summaries += map(summarize, scan)
        self._size = scan.end


def _write_all(descriptor: int, data: bytes) -> None:
    # A full disk takes the part that still fits without an error; only the next write fails.
    while data:
        data = data[os.write(descriptor, data) :]


def _split_tail(descriptor: int, size: int) -> tuple[int, bytes]:
    """Number of bytes in whole lines, and the bytes after them. Reads backwards: a ledger may be long."""
    tail = b""
    while size > 0:
        begin = max(0, size - _CHUNK)
        chunk = os.pread(descriptor, size - begin, begin)
        whole = chunk.rfind(b"\n") + 1
        tail = chunk[whole:] + tail
        if whole:
            return begin + whole, tail
        size = begin
    return 0, tail
