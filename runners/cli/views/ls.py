"""`archsweep ls`: the trials of a run, one a line."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from runners.cli.arguments import RunArgument

__all__ = ["ls"]


def ls(
    run: RunArgument,
    sort: Annotated[str | None, typer.Option(help="Names, e.g. `-top1,seed`; a minus is descending.")] = None,
    filter_: Annotated[
        str | None, typer.Option("--filter", help="Expression, e.g. `top1 > 90 and arch.depth == 6`.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Names, e.g. `variant,seed,top1,train.lr`: fields, metrics, paths.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    csv_: Annotated[bool, typer.Option("--csv", help="For spreadsheets, with all digits.")] = False,
    every_attempt: Annotated[
        bool, typer.Option("--all", help="Repeated attempts and trials that tuned a variant, too.")
    ] = False,
) -> None:
    """List the trials of a run: chosen by `--filter`, in the order of `--sort`, with any `--columns`.

    A name is a field (`variant`, `seed`, `status`, `train_seconds`, `failure`, ...), a metric (`top1`) or a path into
    what was trained (`arch.depth`). Trials without a value come last and match nothing that is said about it.
    """
    from results import Run
    from results.store.gc_pause import gc_paused
    from results.views.listing import default_columns, listed, write_listing_csv, write_listing_json, write_listing_text

    if json_ and csv_:
        raise typer.BadParameter("one format at a time", param_hint="--json --csv")
    with gc_paused():
        opened = Run.open(run, curves=False)
        shown, order = _names(columns) or default_columns(opened), _names(sort)
        rows = listed(opened, columns=_names(columns), sort=order, filter_=filter_, every_attempt=every_attempt)
        write = write_listing_json if json_ else write_listing_csv if csv_ else write_listing_text
        write(rows, shown, sys.stdout)


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]
