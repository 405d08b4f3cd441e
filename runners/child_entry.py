"""The door into `runners.child` for processes that have neither torch nor ray loaded and must not load them, and how
every process of a trial behaves towards signals."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from runners.outcome import failure_of

__all__ = ["CHILD_ENV", "PRELOAD", "child_entry", "die_with_parent", "listen_to_sigterm"]

_PR_SET_PDEATHSIG = 1

PRELOAD = ["runners.child", "runners.forkserver_signals"]

CHILD_ENV = {
    # Attention maps are large and short-lived: without these, glibc returns their pages to the kernel after every step
    # and the next step faults them in again. They must stand in the environment before the process starts.
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
    # Threads that spin while they wait take the cores of the trials beside them.
    "OMP_WAIT_POLICY": "PASSIVE",
}


def child_entry(connection: Connection, *arguments: Any) -> None:
    """Runs `child_main` in the forked child, where the forkserver has preloaded it.

    An installation in which it cannot be imported is told to the driver like any failure.
    """
    try:
        from runners.child import child_main
    except Exception as err:
        connection.send(("failure", failure_of(err).model_dump()))
        return
    child_main(connection, *arguments)


def die_with_parent() -> None:
    """A trial must not outlive its worker: not after Ctrl-C, not after kill -9 of the driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    _on_death_of_parent(signal.SIGKILL)


def listen_to_sigterm(grace_seconds: float) -> Callable[[], bool]:
    """Whether SIGTERM has come: it asks the trial of this process to save itself.

    Where all processes of a machine get it, the parents die of it. From then on the process lives without them, for as
    long as it may take to save.
    """
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            return
        asked = True
        _on_death_of_parent(0)
        last_resort = threading.Timer(grace_seconds, lambda: os._exit(1))
        last_resort.daemon = True
        last_resort.start()

    signal.signal(signal.SIGTERM, ask)
    return lambda: asked


def _on_death_of_parent(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
