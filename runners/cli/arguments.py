"""Arguments shared by several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "AsJson",
    "CacheFolder",
    "Overrides",
    "Profile",
    "RunArgument",
    "RunsArgument",
    "Study",
    "SweepArgument",
    "reject_conflicting_flags",
]

SweepArgument = Annotated[Path, typer.Argument(metavar="SWEEP", help="The sweep file.", show_default=False)]
RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run directory, e.g. runs/quickstart.", show_default=False)
]
RunsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="Run directories; several make one table.", show_default=False),
]
Profile = Annotated[str | None, typer.Option("--profile", help="Apply this profile from the sweep file.")]
Study = Annotated[str | None, typer.Option("--study", help="Run only this study of the file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override one value, e.g. train.epochs=5. Repeatable."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON (docs/json_output.md).")]
CacheFolder = Annotated[
    Path | None,
    typer.Option("--cache", help="Trial cache directory. Default: $ARCHSWEEP_CACHE or ~/.cache/archsweep."),
]


def reject_conflicting_flags(cache: Path | None, no_cache: bool) -> None:
    """Reject `--cache` together with `--no-cache`.

    Raises:
        BadParameter: both are given.
    """
    if cache is not None and no_cache:
        raise typer.BadParameter("cannot be combined with --no-cache", param_hint="--cache")
