"""Terminals: their width, and output to one that may be closed during a run of days without ending the run."""

from __future__ import annotations

import errno
import os
from typing import Any, TextIO

__all__ = ["TolerantStdout", "terminal_width"]

_GONE = (errno.EIO, errno.EPIPE)  # the terminal was closed; the reader of a pipe has ended


class TolerantStdout:
    """Stream that discards what is written once its terminal is closed or its pipe is broken."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as err:
            self._discard(err)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as err:
            self._discard(err)

    def _discard(self, err: OSError) -> None:
        if err.errno not in _GONE:
            raise err
        # What is left in its buffer must go somewhere, or the interpreter reports it at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def terminal_width(stream: TextIO) -> int | None:
    """Columns of the stream's terminal: COLUMNS, where a user or a shell set it, else the terminal's own.

    None without a terminal: what a pipe or a file takes need not be cut.
    """
    # The variable counts for pipes, too: it is how a pager or a test says how wide it is.
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):  # no terminal; a stream without a file
        return None
