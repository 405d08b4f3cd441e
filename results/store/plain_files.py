"""A run directory of another hand may hold pipes and devices under the names of its files: reading one never ends."""

from __future__ import annotations

import os
from pathlib import Path

from search_space.parsing.errors import Problem, SpecError

__all__ = ["refuse_special_files"]


def refuse_special_files(run_dir: Path) -> None:
    """Looks at what lies in the run directory, links followed; a directory that is none is left to others to refuse.

    Raises:
        SpecError: something there is neither a plain file nor a folder.
    """
    try:
        with os.scandir(run_dir) as entries:
            names = sorted(
                each.name for each in entries if not each.is_file() and not each.is_dir() and _is_there(each)
            )
    except OSError:
        return
    if names:
        hint = "a pipe or a device has no place in a run directory: move it away"
        raise SpecError([Problem("is no plain file", where=str(run_dir / name), hint=hint) for name in names])


def _is_there(entry: os.DirEntry[str]) -> bool:
    return os.path.exists(entry.path)  # a link to nowhere is as good as no file
