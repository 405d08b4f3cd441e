"""`archsweep status` and `archsweep table`: look at any run directory, also from another shell while it runs."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from runners.cli.arguments import RunArgument

__all__ = ["status", "table"]


class Format(StrEnum):
    text = "text"
    csv = "csv"
    md = "md"
    tex = "tex"
    html = "html"


def status(run: RunArgument) -> None:
    """Say how a run stands: what is done, running, failed and why, the best so far."""
    from results import Run, format_status, run_status

    print(format_status(run_status(Run.open(run), now=time.time())))


def table(
    run: RunArgument,
    format_: Annotated[Format, typer.Option("--format", "-f", help="How to print it.")] = Format.text,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead.")] = None,
) -> None:
    """Print the ablation table of a run."""
    from results import EXPORTERS, Run, ablation_table

    opened = Run.open(run)
    made = ablation_table(opened.plan, opened.records)
    if output is None:
        EXPORTERS[format_.value](made, sys.stdout)
        return
    with output.open("w", encoding="utf-8", newline="") as stream:
        EXPORTERS[format_.value](made, stream)
