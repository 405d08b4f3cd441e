"""`archsweep watch`: live view of a run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from runners.cli.arguments import RunArgument

__all__ = ["watch"]

_WIDE = 1000  # columns for files and pipes: nothing is broken or cut there


def watch(
    run: RunArgument,
    once: Annotated[bool, typer.Option("--once", help="Show the present state and exit.")] = False,
) -> None:
    """Show a run live, from any shell.

    Progress, throughput, running trials with their curves, GPUs, failures, time left. Exits when the run has finished;
    Ctrl-C ends the view, not the run. Without a terminal, or with --once, it is shown once. Respects NO_COLOR.
    """
    import os
    import signal

    from rich.console import Console

    from runners.display.watch import watch as show

    # A shell without job control starts background jobs with Ctrl-C ignored. SIGTERM and a lost connection end the
    # view in order, too: else the cursor would stay hidden.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=_WIDE)
    try:
        show(run, console, once=once)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
