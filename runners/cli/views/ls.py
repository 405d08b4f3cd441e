"""`archsweep ls`: list of the trials of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from runners.cli.arguments import AsJson, RunArgument

if TYPE_CHECKING:
    from results.views.columns import TrialRow

__all__ = ["ls"]


def ls(
    run: RunArgument,
    sort: Annotated[str | None, typer.Option(help="Sort keys, e.g. -top1,seed; a minus sorts descending.")] = None,
    filter_: Annotated[
        str | None, typer.Option("--filter", help="Expression, e.g. 'top1 > 90 and arch.depth == 6'.")
    ] = None,
    columns: Annotated[str | None, typer.Option(help="Columns, e.g. variant,seed,top1,train.lr.")] = None,
    as_json: AsJson = False,
    csv_: Annotated[bool, typer.Option("--csv", help="Print CSV with all digits.")] = False,
    every_attempt: Annotated[
        bool,
        typer.Option("--all", help="Include trials that are no longer planned, repeated attempts, tuning trials."),
    ] = False,
) -> None:
    """List the trials of a run.

    A name is a field (`variant`, `seed`, `status`, `train_seconds`, `failure`, ...), a metric (`top1`) or a path into
    what was trained (`arch.depth`). Trials without a value sort last and match no
    condition on it.
    """
    from results import Run
    from results.store.ledger import gc_paused
    from results.views.listing import (
        default_columns,
        listed,
        num_left_out,
        write_listing_csv,
        write_listing_text,
    )

    if as_json and csv_:
        raise typer.BadParameter("one format at a time", param_hint="--json --csv")
    with gc_paused():
        opened = Run.open(run, curves=False)
        shown, order = _names(columns) or default_columns(opened), _names(sort)
        rows = listed(opened, columns=_names(columns), sort=order, filter_=filter_, every_attempt=every_attempt)
        if as_json:
            _write_json(rows, shown, num_left_out=0 if every_attempt else num_left_out(opened))
            return
        write = write_listing_csv if csv_ else write_listing_text
        write(rows, shown, sys.stdout)
    if not every_attempt and (count := num_left_out(opened)):
        them = "1 trial is" if count == 1 else f"{count} trials are"
        print(f"archsweep: {them} not in the plan any more and left out; --all lists them", file=sys.stderr)


def _write_json(rows: Sequence[TrialRow], columns: Sequence[str], *, num_left_out: int) -> None:
    from runners.cli.documents.document import write_document
    from runners.cli.documents.of_runs import LsDocument, trial_entries

    trials = trial_entries(rows, columns)
    write_document(LsDocument(columns=list(columns), trials=trials, num_left_out=num_left_out), sys.stdout)


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]
