"""`archsweep wait`: wait for a run that another process carries out."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from runners.cli.arguments import AsJson, RunArgument
from search_space import Problem, SpecError

__all__ = ["wait"]

_CODES = {"finished": 0, "reached": 0, "failures": 3, "timeout": 4, "stopped": 5}


def wait(
    run: RunArgument,
    until: Annotated[
        str, typer.Option(metavar="finished|N", help="What to wait for: the end, or N trials that have ended.")
    ] = "finished",
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds to wait at most.")] = None,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds for the run to appear, and for a driver to start.")
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Wait until a run has finished.

    Exit code 0: finished, or N trials have ended. 2: no such run. 3: finished, but some trials failed. 4: the time is
    over. 5: no driver is at work, and trials are missing. After `archsweep run ... &` give it --patience 60.
    """
    from results import format_status
    from runners.session.wait import wait_for_run

    outcome, status = wait_for_run(run, until=_number(until), timeout=timeout, patience=patience)
    if as_json:
        from runners.cli.documents.document import write_document
        from runners.cli.documents.of_runs import WaitDocument, status_document

        write_document(WaitDocument(outcome=outcome, status=status_document(status)), sys.stdout)
    else:
        print(format_status(status), end="")
    if code := _CODES[outcome]:
        raise typer.Exit(code)


def _number(until: str) -> int | None:
    if until == "finished":
        return None
    if until.isascii() and until.isdigit() and int(until) > 0:
        return int(until)
    hint = "`finished`, or a number of trials"
    raise SpecError(Problem(f"{until!r} is nothing to wait for", where="--until", hint=hint))
