"""`archsweep watch`: look at a run while it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from runners.cli.arguments import RunArgument

__all__ = ["watch"]


def watch(
    run: RunArgument,
    once: Annotated[bool, typer.Option("--once", help="Show the present state and stop.")] = False,
) -> None:
    """Watch a run from any shell: progress, pace, running trials with their curves, failures, time left.

    Ends when nobody works on the run; Ctrl-C ends the view, not the run.
    """
    import signal

    from rich.console import Console

    from runners.watch import watch as show

    # A shell without job control starts background jobs with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        show(run, Console(), once=once)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
