"""`archsweep report`: one HTML file per run, and its figures for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runners.cli.arguments import RunsArgument

__all__ = ["report"]


def report(
    runs: RunsArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Output file. Default: RUN/report.html.")
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option("--figures", metavar="DIR", help="Also write each figure as SVG and PDF, and its data as CSV."),
    ] = None,
) -> None:
    """Write a self-contained HTML report of a run.

    Table, figures, failures, provenance, and how to reproduce it.
    """
    if len(runs) > 1 and output is None:
        raise typer.BadParameter("the report of several runs needs an output file", param_hint="--output")
    from results import Run
    from results.figures.files import write_figures
    from results.report import make_report
    from results.store.files import atomic_write, readable_write_errors
    from results.store.ledger import gc_paused
    from runners.display.report_subject import report_subject

    with gc_paused():
        opened = [Run.open(run) for run in runs]
        made = make_report([report_subject(run) for run in opened])
    path = output or opened[0].files.report
    if output is None:
        atomic_write(path, made.html)
    else:  # may be a pipe or a device, which cannot be replaced
        with readable_write_errors(path):
            path.write_text(made.html, encoding="utf-8")
    print(f"report: {path}  ({len(made.html.encode()) / 1e6:.1f} MB)")
    if figures is not None:
        written = write_figures(made.figures, figures)
        print(f"figures: {figures}  ({len(made.figures)} figures, {len(written)} files)")
