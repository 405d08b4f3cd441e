"""The ledger: `ledger.jsonl`, one trial record a line, append-only, one writer. It is the truth of a run.

Written so that nothing that was reported as finished is ever lost and nothing half-written is ever read:
a record is one write of one whole line, followed by fsync; a line torn by a killed process is not counted by readers
and cut off (kept in `ledger.torn`) by the next writer, under the lock of the run. Readers need no lock.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from results.driver_lock import DriverLock
from results.durable_files import fsync_directory, write_errors_in_words
from results.records import RECORD_VERSION, TrialRecord
from search_space.errors import Problem, SpecError

__all__ = [
    "LEDGER_NAME",
    "TORN_NAME",
    "LedgerContents",
    "LedgerWriter",
    "latest_by_trial",
    "newer_version",
    "read_ledger",
]

LEDGER_NAME = "ledger.jsonl"
TORN_NAME = "ledger.torn"
_MOST_PROBLEMS = 10


@dataclass(frozen=True)
class LedgerContents:
    """What a ledger holds: its records in the order of the file, whether its last line was torn (and is therefore not
    among them), and how many blank lines were passed over."""

    records: list[TrialRecord]
    torn: bool = False
    skipped: int = 0


class LedgerWriter:
    """The one writer of a run's ledger, as a context manager. Creates the run directory.

        with LedgerWriter(run_dir) as ledger:
            for record in ledger.records: ...      # what earlier drivers left
            ledger.append(record)                  # durable when it returns

    `torn_bytes` says how much of a torn last line was cut off on opening. Appending from several threads is safe.
    """

    def __init__(self, run_dir: str | Path) -> None:
        self.run_dir = Path(run_dir)
        self.path = self.run_dir / LEDGER_NAME
        self.records: tuple[TrialRecord, ...] = ()
        self.torn_bytes = 0
        self._lock = DriverLock(self.run_dir)
        self._mutex = threading.Lock()
        self._descriptor: int | None = None
        self._size = 0
        self._is_damaged = False

    def __enter__(self) -> LedgerWriter:
        with write_errors_in_words(self.run_dir):
            self.run_dir.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            with write_errors_in_words(self.path):
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
                fsync_directory(self.run_dir)
                self._repair()
            self.records = tuple(read_ledger(self.path).records)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the ledger and gives the run directory back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._lock.release()

    def append(self, record: TrialRecord) -> None:
        """Writes the record; when this returns, it is on the disk.

        Raises:
            SpecError: it could not be written (disk full, read-only, ...). The ledger is then as it was before.
        """
        line = record.model_dump_json().encode() + b"\n"
        with self._mutex, write_errors_in_words(self.path):
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

    def _truncate(self) -> None:
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, self._size)
        self._is_damaged = False

    def _repair(self) -> None:
        """Cuts a torn last line off, or ends it where only its line feed is missing."""
        assert self._descriptor is not None
        data = self.path.read_bytes()
        whole, tail = _split_tail(data)
        if tail and _is_record(tail):
            _write_all(self._descriptor, b"\n")
            whole = len(data) + 1
        elif tail:
            with open(self.run_dir / TORN_NAME, "ab") as stream:
                stream.write(tail + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            os.ftruncate(self._descriptor, whole)
            self.torn_bytes = len(tail)
        os.fsync(self._descriptor)
        self._size = whole


def read_ledger(path: str | Path) -> LedgerContents:
    """All records of a ledger, also while a driver is writing it. No file: no records yet.

    Raises:
        SpecError: a line other than a torn last one is no record, or was written by a newer archsweep.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return LedgerContents([])
    except OSError as err:
        raise SpecError(Problem(f"cannot read: {err.strerror}", where=str(path))) from err
    whole, tail = _split_tail(data)
    lines = data[:whole].split(b"\n")[:-1]
    torn = bool(tail) and not _is_record(tail)
    if tail and not torn:
        lines.append(tail)
    records: list[TrialRecord] = []
    problems: list[Problem] = []
    skipped = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            skipped += 1
            continue
        try:
            record = TrialRecord.model_validate_json(line)
        except ValidationError as err:
            version = _version(line)
            if version > RECORD_VERSION:
                raise SpecError(newer_version(f"{path}:{number}", version)) from err
            problems.append(_corrupt_line(f"{path}:{number}", line, err))
        else:
            if record.version > RECORD_VERSION:
                raise SpecError(newer_version(f"{path}:{number}", record.version))
            records.append(record)
        if len(problems) == _MOST_PROBLEMS:
            break
    if problems:
        raise SpecError(problems)
    return LedgerContents(records, torn=torn, skipped=skipped)


def latest_by_trial(records: Iterable[TrialRecord]) -> dict[str, TrialRecord]:
    """The deciding record of every trial id: a completed one if there is any, else the latest attempt.

    Preempted ones decide nothing: their trial is still to be done.

    Does not depend on the order of the records, so that a merged or sorted ledger gives the same table.
    """
    deciding: dict[str, TrialRecord] = {}
    for record in records:
        if record.status == "preempted":
            continue
        other = deciding.get(record.trial_id)
        if other is None or _rank(record) > _rank(other):
            deciding[record.trial_id] = record
    return deciding


def newer_version(where: str, version: int) -> Problem:
    """The refusal of a file whose format this archsweep does not know."""
    return Problem(
        f"written by a newer archsweep (format {version}; this one reads up to {RECORD_VERSION})",
        where=where,
        hint="upgrade with `pip install --upgrade archsweep`",
    )


def _rank(record: TrialRecord) -> tuple[bool, int, str, str]:
    return record.status == "completed", record.attempt, record.finished_at, record.model_dump_json()


def _write_all(descriptor: int, data: bytes) -> None:
    # A full disk takes the part that still fits without an error; only the next write tells.
    while data:
        data = data[os.write(descriptor, data) :]


def _split_tail(data: bytes) -> tuple[int, bytes]:
    """Number of bytes in whole lines, and what follows them."""
    whole = data.rfind(b"\n") + 1
    return whole, data[whole:]


def _is_record(tail: bytes) -> bool:
    # No proper beginning of a JSON object is itself one: an unterminated line that can be read is complete. Editors
    # that strip the last line feed must not cost a trial.
    try:
        TrialRecord.model_validate_json(tail)
    except ValidationError:
        return False
    return True


def _version(line: bytes) -> int:
    """The format version of a line that is no record of ours; 0 where it tells none."""
    try:
        version = json.loads(line)["version"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return 0
    return version if isinstance(version, int) else 0


def _corrupt_line(where: str, line: bytes, err: ValidationError) -> Problem:
    first = err.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    reason = f"{place}: {first['msg']}" if place else first["msg"]
    begin = line[:60].decode(errors="backslashreplace")
    return Problem(
        f"not a trial record: {reason}",
        where=where,
        hint=f"the line begins {begin!r}\n"
        "repair the line or move it out of the file; without it the trial counts as never run and is run again",
    )
