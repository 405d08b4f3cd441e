"""Whether a file has changed; the end of a log: of plain files inside the run only, with secrets masked."""

from __future__ import annotations

import os
from pathlib import Path

from results.store.links import open_within
from search_space.parsing.secrets import masked

__all__ = ["file_stamp", "read_tail"]

_MOST_BYTES = 64 * 1024
_MOST_WIDE = 2000


def read_tail(path: Path, root: str | os.PathLike[str], *, lines: int) -> list[str]:
    """The last lines of the file; none where it cannot be read or leads out of `root`. Long lines are cut."""
    try:
        with open_within(path, root) as stream:
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - _MOST_BYTES))
            found = stream.read(_MOST_BYTES)
    except OSError:
        return []
    text = found.decode(errors="replace").split("\n")
    if size > _MOST_BYTES:
        text = text[1:]  # which begins in its middle
    # Progress bars rewrite their line: its last state is what a terminal would show.
    shown = [line.rstrip().rpartition("\r")[2][:_MOST_WIDE] for line in text if line.strip()]
    return [masked(line) for line in shown[-lines:]]


def file_stamp(path: Path) -> tuple[int, int, int] | None:
    """File number, size and time of the last write, which change when it is written or replaced; None without one."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
