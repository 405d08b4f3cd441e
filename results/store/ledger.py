"""Reading the ledger: `ledger.jsonl`, one trial record a line, append-only, one writer; the source of all results.

A line torn by a killed process is not counted; any other line that is no record is an error, because leaving a trial
out would falsify a table. Readers need no lock. Writing: ledger_writer.py.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from results.store.ledger_line import LedgerLine, decode_line
from results.store.record_summary import RecordSummary, summarize
from results.store.records import RECORD_VERSION, TrialRecord
from search_space.parsing.errors import Problem, SpecError

__all__ = [
    "LedgerContents",
    "LedgerScan",
    "gc_paused",
    "is_record",
    "newer_version",
    "open_ledger",
    "read_ledger",
    "read_summaries",
]

_MOST_PROBLEMS = 10


@dataclass(frozen=True)
class LedgerContents:
    """The content of a ledger: its records in the order of the file, whether its last line was torn (and is therefore
    not among them), and how many blank lines were skipped."""

    records: list[TrialRecord]
    torn: bool = False
    skipped: int = 0


class LedgerScan:
    """One pass over an opened ledger, or over its part after a given offset. Iterating yields its records, most of them
    as decoded lines.

    Args:
        is_verified: refuse records that cannot be the result of their trial (`RecordVerifier`), too.

    Attributes:
        lines, end: number of whole lines so far, and the byte offset of their end.
        has_line_feed: False once the record just given was an unterminated last line.
        torn, skipped: as in `LedgerContents`, complete after the pass.
    """

    def __init__(
        self, path: Path, stream: IO[bytes], *, lines: int = 0, end: int = 0, is_verified: bool = False
    ) -> None:
        self.path = path
        self.lines, self.end = lines, end
        self.has_line_feed = True
        self.torn = False
        self.skipped = 0
        self._stream = stream
        self._verifier = None
        if is_verified:
            # Only here: it builds the models of a whole sweep, which a status does not need.
            from results.store.verification import RecordVerifier

            self._verifier = RecordVerifier()

    def __iter__(self) -> Iterator[LedgerLine | TrialRecord]:
        """
        Raises:
            SpecError: a line other than a torn last one is no record, or was written by a newer archsweep; or, where
                records are verified, one cannot be the result of its trial.
        """
        problems: list[Problem] = []
        for line in self._stream:
            if not line.endswith(b"\n"):
                # No proper beginning of a JSON object is itself one: an unterminated line that can be read is
                # complete. Editors that strip the last line feed must not cost a trial.
                self.has_line_feed = False
                self.torn = not is_record(line)
                if not self.torn:
                    record = self._record(line, self.lines + 1)
                    problems += self._verified(record, self.lines + 1)
                    yield record
                break
            self.lines += 1
            self.end += len(line)
            if not line.strip():
                self.skipped += 1
                continue
            try:
                record = self._record(line, self.lines)
            except ValidationError as err:
                problems.append(_corrupt_line(f"{self.path}:{self.lines}", line.rstrip(b"\n"), err))
                if len(problems) == _MOST_PROBLEMS:
                    break
            else:
                problems += self._verified(record, self.lines)
                if len(problems) == _MOST_PROBLEMS:
                    break
                yield record
        if problems:
            raise SpecError(problems)

    def _verified(self, record: LedgerLine | TrialRecord, line: int) -> list[Problem]:
        reason = self._verifier.problem(record, line) if self._verifier else ""
        if not reason:
            return []
        hint = (
            "a table with it would be wrong. Was the ledger edited, or merged from two runs? Move the line out of the "
            "file; a trial without a record is run again"
        )
        return [Problem(f"not a result of its trial: {reason}", where=f"{self.path}:{line}", hint=hint)]

    def _record(self, line: bytes, number: int) -> LedgerLine | TrialRecord:
        if (found := decode_line(line)) is not None:
            return found
        try:
            record = TrialRecord.model_validate_json(line)
        except ValidationError as err:
            if (version := _version(line)) > RECORD_VERSION:
                raise SpecError(newer_version(f"{self.path}:{number}", version)) from err
            raise
        if record.version > RECORD_VERSION:
            raise SpecError(newer_version(f"{self.path}:{number}", record.version))
        return record


@contextmanager
def gc_paused() -> Iterator[None]:
    """Disable the cyclic collector in the body; cycles that the body leaves are collected after it.

    Records hold no cycles, but a hundred thousand are millions of objects, which the collector would traverse
    repeatedly: reading them would take 3.4 times as long.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_ledger(path: str | Path, *, curves: bool = True) -> LedgerContents:
    """All records of a ledger, also while a driver is writing it. No file: no records yet.

    Args:
        curves: False leaves the curves out, which take most of a record's memory. They are still validated.

    Raises:
        SpecError: a line other than a torn last one is no record, or was written by a newer archsweep.
    """
    path = Path(path)
    with open_ledger(path) as stream, gc_paused():
        if stream is None:
            return LedgerContents([])
        scan = LedgerScan(path, stream, is_verified=True)
        records = [_whole(found, curves=curves) for found in scan]
    return LedgerContents(records, torn=scan.torn, skipped=scan.skipped)


def read_summaries(path: str | Path) -> tuple[tuple[RecordSummary, ...], bool]:
    """The summaries of all records of a ledger, and whether its last line was torn.

    Raises:
        SpecError: as `read_ledger`.
    """
    path = Path(path)
    with open_ledger(path) as stream:
        if stream is None:
            return (), False
        scan = LedgerScan(path, stream)
        return tuple(map(summarize, scan)), scan.torn


def _whole(found: LedgerLine | TrialRecord, *, curves: bool) -> TrialRecord:
    if isinstance(found, LedgerLine):
        if not curves:
            found.curve = []
        return found.record()
    return found if curves else found.model_copy(update={"curve": []})


@contextmanager
def open_ledger(path: Path) -> Iterator[IO[bytes] | None]:
    """The ledger for reading; None where there is none.

    Raises:
        SpecError: it cannot be read.
    """
    try:
        stream = open(path, "rb")  # noqa: SIM115 - errors of the body are not those of opening
    except FileNotFoundError:
        yield None
        return
    except OSError as err:
        raise _cannot_read(path, err) from err
    with stream:
        try:
            yield stream
        except OSError as err:
            raise _cannot_read(path, err) from err


def is_record(line: bytes) -> bool:
    """Whether the line is a record, including one of a newer archsweep."""
    try:
        TrialRecord.model_validate_json(line)
    except ValidationError:
        return False
    return True


def newer_version(where: str, version: int) -> Problem:
    """The error for a file of a newer format than this archsweep reads."""
    return Problem(
        f"written by a newer archsweep (format {version}; this one reads up to {RECORD_VERSION})",
        where=where,
        hint="upgrade with `pip install --upgrade archsweep`",
    )


def _cannot_read(path: Path, err: OSError) -> SpecError:
    return SpecError(Problem(f"cannot read: {err.strerror}", where=str(path)))


def _version(line: bytes) -> int:
    """The format version of a line that is not a valid record; 0 where it has none."""
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
