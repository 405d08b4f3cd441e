"""Live view of any run directory (`archsweep watch`), read from its files alone.

It needs no driver in its own process: it works from another shell, over ssh, and on a run that has crashed or ended.
It writes below the existing output and leaves its last state there: no alternate screen, nothing to clean up.
"""

from __future__ import annotations

import socket
import time
from contextlib import closing
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live

from results import Run, RunFollower, RunSummary
from runners.display.watch_layout import Screen, view
from runners.machine.gpus import GpuInfo, GpuMonitor, local_gpus

__all__ = ["watch"]

_LEAST_SECONDS = 1.0
_SHARE_OF_READING = 0.2  # upper bound of the share of time spent on reading a large run


def watch(run_dir: Path, console: Console, *, once: bool = False) -> None:
    """Show the run until its driver has ended; only once where the output is not a terminal with cursor control.

    Raises:
        SpecError: the run does not exist or cannot be read.
    """
    follower = RunFollower(run_dir)
    run = follower.look()
    if once or not console.is_terminal or console.is_dumb_terminal:
        console.print(_seen(run, console, local_gpus(), height=None))
        return
    with closing(GpuMonitor()) as gpus, Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            is_over = run.driver is None
            live.update(_seen(run, console, gpus.look(), height=None if is_over else console.height), refresh=True)
            if is_over:
                return
            began = time.monotonic()
            time.sleep(_LEAST_SECONDS)
            reading = time.monotonic()
            run = follower.look()
            cost = time.monotonic() - reading
            time.sleep(max(0.0, cost / _SHARE_OF_READING - (time.monotonic() - began)))


def _seen(run: RunSummary | Run, console: Console, gpus: tuple[GpuInfo, ...], *, height: int | None) -> RenderableType:
    has_unicode = (console.encoding or "").lower().startswith("utf")
    return view(run, Screen(console.width, height, has_unicode), now=time.time(), gpus=gpus, host=socket.gethostname())
