"""`archsweep report`: one HTML file per run, and its figures for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runners.cli.arguments import RunsArgument
from search_space import Problem, SpecError, load_studies

if TYPE_CHECKING:
    from results import Run
    from results.report import Subject
    from search_space import Sweep

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

    with gc_paused():
        opened = [Run.open(run) for run in runs]
        made = make_report([_subject(run) for run in opened])
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


def _subject(run: Run) -> Subject:
    from results.report import Subject

    if run.plan.design != "search":
        return Subject(run)
    # Optuna, and with it a second of imports, only for a search.
    from runners.search.importance import parameter_importances

    try:
        return Subject(run, parameter_importances(run.deciding.values(), _sweep_of(run)))
    except SpecError as err:
        return Subject(run, remarks=tuple(f"importances: {problem.message}" for problem in err.problems))


def _sweep_of(run: Run) -> Sweep:
    """The sweep as the latest start read it: the kept file, with that start's profile and overrides.

    Raises:
        SpecError: the run has no such file, or it is not of this sweep.
    """
    from results.store.provenance import read_sessions

    sessions = read_sessions(run.files)
    latest = sessions[-1] if sessions else {}
    path = run.files.sweep
    files = load_studies(path, profile=latest.get("profile") or None, overrides=latest.get("overrides") or ())
    for file in files:
        if file.sweep.name == run.plan.sweep:
            return file.sweep
    raise SpecError(Problem(f"holds no sweep named {run.plan.sweep!r}", where=str(path)))
