"""Arguments shared by several commands, and the default run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from search_space import SweepFile, load_studies

__all__ = [
    "CacheFolder",
    "Overrides",
    "Profile",
    "RunArgument",
    "RunsArgument",
    "Study",
    "SweepArgument",
    "knowing_runs",
    "reject_conflicting_flags",
    "run_dir_of",
    "study_run_dirs",
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


def run_dir_of(file: SweepFile, profile: str | None) -> Path:
    """`runs/NAME` or `runs/NAME-PROFILE`."""
    return Path("runs") / (file.sweep.name + (f"-{profile}" if profile else ""))


def study_run_dirs(
    sweep: Path, files: Sequence[SweepFile], profile: str | None, overrides: Sequence[str]
) -> dict[str, Path]:
    """Run directory of every study of the sweep file, of which `files` are some; empty where it has no studies."""
    if not files[0].study:
        return {}
    every = load_studies(sweep, profile=profile, overrides=overrides)
    return {file.study: run_dir_of(file, profile) for file in every}


def knowing_runs(file: SweepFile, siblings: Mapping[str, Path]) -> SweepFile:
    """The sweep with the places of runs whose weights it may begin with: workers have another working directory."""
    written = file.sweep.resources
    runs = {**{name: str(path.resolve()) for name, path in siblings.items()}, **written.study_runs}
    resources = written.model_copy(update={"study_runs": runs, "runs_dir": written.runs_dir or str(Path.cwd())})
    return replace(file, sweep=file.sweep.model_copy(update={"resources": resources}))
