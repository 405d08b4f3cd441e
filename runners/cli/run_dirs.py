"""Where `run` writes and `plan` and `launch` look, when nobody says where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from search_space import SweepFile, load_studies

__all__ = ["run_dir_of", "study_run_dirs"]


def run_dir_of(file: SweepFile, profile: str | None) -> Path:
    """`runs/NAME` or `runs/NAME-PROFILE`."""
    return Path("runs") / (file.sweep.name + (f"-{profile}" if profile else ""))


def study_run_dirs(
    sweep: Path, files: Sequence[SweepFile], profile: str | None, overrides: Sequence[str]
) -> list[Path]:
    """Those of all studies of the sweep file, whichever of them `files` are; none where it has no studies."""
    if not files[0].study:
        return []
    return [run_dir_of(file, profile) for file in load_studies(sweep, profile=profile, overrides=overrides)]
