"""Arguments that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "CacheFolder",
    "Overrides",
    "Profile",
    "RunArgument",
    "RunsArgument",
    "Study",
    "SweepArgument",
    "refuse_two_wishes",
]

SweepArgument = Annotated[Path, typer.Argument(metavar="SWEEP", help="The sweep file.", show_default=False)]
RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run directory, e.g. runs/quickstart.", show_default=False)
]
RunsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="Run directories; several make one table.", show_default=False),
]
Profile = Annotated[str | None, typer.Option("--profile", help="Lay this profile of the sweep file over it.")]
Study = Annotated[str | None, typer.Option("--study", help="Only this one of the file's `studies`.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change one value, e.g. `--set train.epochs=5`. Repeatable."),
]
CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--cache", help="Folder of the memory across sweeps; default: ARCHSWEEP_CACHE, else ~/.cache/archsweep."
    ),
]


def refuse_two_wishes(cache: Path | None, no_cache: bool) -> None:
    """Raises BadParameter for `--cache` beside `--no-cache`."""
    if cache is not None and no_cache:
        raise typer.BadParameter("--cache names a folder that --no-cache forbids", param_hint="--cache")
