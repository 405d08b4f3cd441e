"""Signal handling of trial processes: die with the parent, save on SIGTERM."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable

__all__ = ["die_with_parent", "listen_to_sigterm"]

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Make the kernel kill this process when its parent dies, also after Ctrl-C or kill -9 of the driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    _on_death_of_parent(signal.SIGKILL)


def listen_to_sigterm(grace_seconds: float) -> Callable[[], bool]:
    """Handle SIGTERM as the request to save a checkpoint; the result reports whether it has arrived.

    Where all processes of a machine receive SIGTERM, the parents die of it. From then on this process runs without
    them, for at most `grace_seconds`.
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
