"""A terminal that may vanish: a run of days must not end because nobody looks any more."""

from __future__ import annotations

import errno
import os
from typing import Any, TextIO

__all__ = ["TolerantStdout"]

_GONE = (errno.EIO, errno.EPIPE)  # the terminal was closed; the reader of a pipe has ended


class TolerantStdout:
    """A stream to which writing is of no consequence once there is nothing behind it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as err:
            self._let_go(err)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as err:
            self._let_go(err)

    def _let_go(self, err: OSError) -> None:
        if err.errno not in _GONE:
            raise err
        # What is left in its buffer must go somewhere, or the interpreter tells of it at the end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
