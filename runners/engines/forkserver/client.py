"""A trial's process as the worker sees it that asked a forkserver for it."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from multiprocessing import Pipe
from typing import Any

from runners.engines.forkserver.server import ANSWER

__all__ = ["ForkedProcess"]


class ForkedProcess:
    """A process that a forkserver forks. It ends when this process does, at most two seconds later.

    Args:
        address: path of the forkserver's socket.
        request: the first message to the process, plain values.

    Attributes:
        connection: to the process. It raises EOFError or OSError once that has ended.
        refusal: why the system did not let the process start; empty unless `exit_code` has found that.

    Raises:
        OSError: no forkserver listens there.
    """

    def __init__(self, address: str, request: Any) -> None:
        self._exit_code: int | None = None
        self.refusal = ""
        self._forkserver = socket.socket(socket.AF_UNIX)
        try:
            self._forkserver.connect(address)
            self.connection, theirs = Pipe()
            with theirs:
                try:
                    # Descriptors 1 and 2 and not `sys.stdout`: what C libraries print goes there.
                    socket.send_fds(self._forkserver, [b"\0"], [theirs.fileno(), 1, 2])
                except OSError:
                    self.connection.close()
                    raise
        except OSError:
            self._forkserver.close()
            raise
        with suppress(OSError):  # it has ended already: `connection` and `exit_code` say so
            self.connection.send(request)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def exit_code(self, timeout: float | None = None) -> int | None:
        """Wait for its end; the exit code, of a signal its negative number.

        None: it has not ended within `timeout` seconds, it was lost with its forkserver (see `is_lost`), or it has not
        begun (see `refusal`).
        """
        if self._exit_code is None and self._forkserver.fileno() != -1:
            self._forkserver.settimeout(timeout)
            try:
                received = self._forkserver.recv(ANSWER.size, socket.MSG_WAITALL)
            except TimeoutError:
                return None
            except OSError:
                received = b""
            code, refused = ANSWER.unpack(received) if len(received) == ANSWER.size else (None, 0)
            if refused:
                self.refusal = os.strerror(refused)
            else:
                self._exit_code = code
            if code is None or refused:
                self._forkserver.close()
        return self._exit_code

    @property
    def is_lost(self) -> bool:
        """Whether the forkserver has ended before the process did, which the kernel has killed then."""
        return self._forkserver.fileno() == -1 and self._exit_code is None and not self.refusal

    def close(self) -> None:
        """Let go of it; it is killed if it has not ended."""
        self.connection.close()
        self._forkserver.close()

    def _send(self, number: signal.Signals) -> None:
        with suppress(OSError):  # it has ended
            self._forkserver.sendall(bytes([number]))
