"""`ledger.index`: record summaries of a long ledger, for `archsweep status`. A view that may be lost.

One line per five hundred records, as soon as they are there: their summaries, column by column, and the place in the
ledger behind them with the CRC-32 of everything before it. A reader works that sum out anew and takes only the lines
for which it holds; what follows it reads from the ledger itself. So an index that is stale, torn, of another ledger or
of one that was edited costs time and nothing else. Tables, reports and drivers do not read it at all
(docs/decisions/0008-long-ledgers.md).
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from results.store.gc_pause import gc_paused
from results.store.ledger import LEDGER_NAME, LedgerScan, open_ledger
from results.store.record_summary import RecordSummary, summarize
from results.store.records import Failure, Status

__all__ = ["BLOCK", "INDEX_NAME", "IndexBuilder", "IndexWriter", "LedgerSummaries", "read_summaries"]

INDEX_NAME = "ledger.index"
BLOCK = 500
"""Records in a line. Shorter ledgers have no index: reading them takes milliseconds."""
_FORMAT = 1  # raise it when summaries or the rules for valid records change
_CHUNK = 2**20
_Texts = Annotated[list[str], Field(min_length=BLOCK, max_length=BLOCK)]
_Numbers = Annotated[list[int], Field(min_length=BLOCK, max_length=BLOCK)]


class _Block(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    format: Literal[1]
    lines: int
    end: int
    crc: int
    trial_id: _Texts
    variant_id: _Texts
    variant: _Texts
    seed: _Numbers
    status: Annotated[list[Status], Field(min_length=BLOCK, max_length=BLOCK)]
    role: _Texts
    attempt: _Numbers
    session: _Texts
    finished_at: _Texts
    metrics: Annotated[list[dict[str, float]], Field(min_length=BLOCK, max_length=BLOCK)]
    failures: list[tuple[Annotated[int, Field(ge=0, lt=BLOCK)], str, str]] = Field(
        description="place in the block, type and message"
    )

    def summaries(self) -> Iterator[RecordSummary]:
        failures: list[Failure | None] = [None] * BLOCK
        for place, kind, message in self.failures:
            failures[place] = Failure(type=kind, message=message)
        return map(
            RecordSummary,
            self.trial_id,
            self.variant_id,
            self.variant,
            self.seed,
            self.status,
            self.role,
            self.attempt,
            self.session,
            self.finished_at,
            self.metrics,
            failures,
        )


@dataclass(frozen=True)
class LedgerSummaries:
    """What `LedgerContents` is of records, of their summaries.

    Attributes:
        num_indexed: so many came from the index.
        num_whole: so many stand in whole lines: all, but for a last one that lacks its line feed.
        bytes_read: from the ledger, besides working the sums out.
        lines, end, crc: the place behind the whole lines.
    """

    summaries: list[RecordSummary]
    torn: bool = False
    num_indexed: int = 0
    num_whole: int = 0
    bytes_read: int = 0
    lines: int = 0
    end: int = 0
    crc: int = 0


class IndexBuilder:
    """Makes the lines of an index from the summaries of a ledger, given in order."""

    def __init__(self) -> None:
        self._summaries: list[RecordSummary] = []

    def add(self, summary: RecordSummary, *, lines: int, end: int, crc: int) -> bytes | None:
        """Takes one more summary. The rest is the place in the ledger behind it. Gives a line once one is full."""
        self._summaries.append(summary)
        if len(self._summaries) < BLOCK:
            return None
        columns = dict(zip(RecordSummary._fields, map(list, zip(*self._summaries, strict=True)), strict=True))
        found = enumerate(columns.pop("failure"))
        failures = [(place, failure.type, failure.message) for place, failure in found if failure]
        self._summaries.clear()
        block = {"format": _FORMAT, "lines": lines, "end": end, "crc": crc, **columns, "failures": failures}
        return json.dumps(block, separators=(",", ":")).encode() + b"\n"


class IndexWriter:
    """Keeps the index of a ledger while its writer, who holds the lock, reads it once and then appends to it.

    An index that cannot be written is left alone: it is worth no failed run.
    """

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / INDEX_NAME
        self._builder = IndexBuilder()
        self._earlier: list[bytes] | None = []
        self._stream: IO[bytes] | None = None

    def add(self, summary: RecordSummary, *, lines: int, end: int, crc: int) -> None:
        """Notes a record that is in the ledger."""
        line = self._builder.add(summary, lines=lines, end=end, crc=crc)
        if line is None:
            return
        if self._earlier is not None:
            self._earlier.append(line)
            return
        try:
            if self._stream is None:
                self._stream = open(self._path, "ab", buffering=0)  # noqa: SIM115 - closed with the ledger
            self._stream.write(line)
        except OSError:
            self.close()

    def begin_appending(self) -> None:
        """What earlier drivers left has been added: the index is brought up to date once."""
        assert self._earlier is not None
        with contextlib.suppress(OSError):
            _replace(self._path, b"".join(self._earlier))
        self._earlier = None

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def read_summaries(run_dir: Path, *, may_write: bool) -> LedgerSummaries:
    """The summaries of all records of a run, in the order of its ledger.

    Args:
        may_write: no driver is at work; an index that lacks much is written anew, if the directory allows it.

    Raises:
        SpecError: as `read_ledger`, about the part that the index does not hold.
    """
    # Read before the ledger: an index that is behind is of use, one that is ahead is not.
    kept = _read_index(run_dir / INDEX_NAME)
    path = run_dir / LEDGER_NAME
    with open_ledger(path) as stream, gc_paused():
        if stream is None:
            return LedgerSummaries([])
        summaries: list[RecordSummary] = []
        lines: list[bytes] = []
        last: _Block | None = None
        for line, block in kept:
            if not _holds(block, stream, after=last):
                break
            summaries.extend(block.summaries())
            lines.append(line)
            last = block
        num_indexed = len(summaries)
        builder = IndexBuilder()
        stream.seek(last.end if last else 0)
        place = {"lines": last.lines, "end": last.end, "crc": last.crc} if last else {}
        scan = LedgerScan(path, stream, **place)
        for record in scan:
            summary = summarize(record)
            summaries.append(summary)
            if scan.has_line_feed:
                new = builder.add(summary, lines=scan.lines, end=scan.end, crc=scan.crc)
                lines += [new] if new else []
    if may_write and len(lines) * BLOCK > num_indexed:
        with contextlib.suppress(OSError):
            _replace(run_dir / INDEX_NAME, b"".join(lines))
    return LedgerSummaries(
        summaries,
        torn=scan.torn,
        num_indexed=num_indexed,
        num_whole=len(summaries) - (not scan.has_line_feed and not scan.torn),
        bytes_read=scan.end - (last.end if last else 0),
        lines=scan.lines,
        end=scan.end,
        crc=scan.crc,
    )


def _read_index(path: Path) -> Iterator[tuple[bytes, _Block]]:
    """The lines of the index up to the first that is none."""
    try:
        data = path.read_bytes()
    except OSError:
        return
    for line in data.splitlines(keepends=True):
        try:
            yield line, _Block.model_validate_json(line)
        except ValidationError:
            return


def _holds(block: _Block, ledger: IO[bytes], *, after: _Block | None) -> bool:
    """Whether the ledger has, from the end of `after` on, the bytes of which the block tells."""
    begin, crc = (after.end, after.crc) if after else (0, 0)
    if block.end <= begin:
        return False
    ledger.seek(begin)
    missing = block.end - begin
    while missing and (chunk := ledger.read(min(missing, _CHUNK))):
        crc = zlib.crc32(chunk, crc)
        missing -= len(chunk)
    return not missing and crc == block.crc


def _replace(path: Path, content: bytes) -> None:
    # Without fsync, unlike the files that matter: after a crash of the machine the sums do not hold, and that is all.
    if not content:
        path.unlink(missing_ok=True)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
