"""`archsweep status` and `archsweep table`: state and results of any run directory, also while it runs."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from runners.cli.arguments import RunArgument, RunsArgument

__all__ = ["status", "table"]


class Format(StrEnum):
    text = "text"
    csv = "csv"
    md = "md"
    tex = "tex"
    html = "html"


def status(run: RunArgument) -> None:
    """Show progress, failures and best trial of a run."""
    from results import format_status, open_summary, run_status

    print(format_status(run_status(open_summary(run), now=time.time())))


def table(
    runs: RunsArgument,
    format_: Annotated[Format, typer.Option("--format", "-f", help="Output format.")] = Format.text,
    glue: Annotated[
        bool, typer.Option("--glue", help="The average over runs of single tasks of GLUE, as one table.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead of stdout.")] = None,
) -> None:
    """Print the ablation table of one or several runs.

    In a table of several runs each is compared with its own baseline.
    """
    from results import EXPORTERS, Run, glue_table, table_of_runs
    from results.store.files import readable_write_errors
    from results.store.ledger import gc_paused

    with gc_paused():
        opened = [Run.open(run, curves=False) for run in runs]
        made = glue_table(opened) if glue else table_of_runs(opened)
        if output is None:
            EXPORTERS[format_.value](made, sys.stdout)
            return
        # Not replaced as a run's own files are: it may be a pipe or a device.
        with readable_write_errors(output), output.open("w", encoding="utf-8", newline="") as stream:
            EXPORTERS[format_.value](made, stream)
