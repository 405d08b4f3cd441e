"""Waiting for a run that another process carries out (`archsweep wait`), by its files alone.

Each look reads only what was appended since the one before. A run is finished when every planned trial has a record.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from results import RunFollower, RunStatus, run_status
from search_space import SpecError

__all__ = ["WaitOutcome", "wait_for_run"]

WaitOutcome = Literal["finished", "reached", "failures", "timeout", "stopped"]
_LEAST_SECONDS = 0.5
_SHARE_OF_READING = 0.1  # upper bound of the share of time spent on reading a large run


def wait_for_run(
    path: Path,
    *,
    until: int | None = None,
    timeout: float | None = None,
    patience: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[WaitOutcome, RunStatus]:
    """Wait until the run has finished; returns why the waiting ended, and the status then.

    Args:
        until: also ends when so many trials have ended.
        timeout: seconds at most.
        patience: seconds for the run to appear and for a driver to start; later, a run without a driver has stopped.

    Raises:
        SpecError: there is no run, or it cannot be read.
    """
    began = time.monotonic()
    follower = RunFollower(path)
    while True:
        look_began = time.monotonic()
        waited = look_began - began
        is_over = timeout is not None and waited >= timeout
        try:
            status = run_status(follower.look(), now=time.time())
        except SpecError:
            if waited >= patience or is_over:
                raise
        else:
            if ended := _ended(status, until, is_patient=waited < patience):
                return ended, status
            if is_over:
                return "timeout", status
        pause = max(_LEAST_SECONDS, (time.monotonic() - look_began) / _SHARE_OF_READING)
        left = pause if timeout is None else max(0.0, timeout - (time.monotonic() - began))
        sleep(min(pause, left))


def _ended(status: RunStatus, until: int | None, *, is_patient: bool) -> WaitOutcome | None:
    if status.is_finished and status.driver is None:  # a driver still writes the tables
        return "failures" if status.num_failed else "finished"
    if until is not None and status.num_planned - status.num_missing >= until:
        return "reached"
    return "stopped" if status.driver is None and not is_patient else None
