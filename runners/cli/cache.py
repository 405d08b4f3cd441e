"""`archsweep cache`: size of the trial cache, and clearing it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search_space import Problem, SpecError

__all__ = ["cache"]


def cache(
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Cache directory. Default: $ARCHSWEEP_CACHE or ~/.cache/archsweep.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Delete all cached trials.")] = False,
) -> None:
    """Show or clear the cache of trained trials.

    `run` reuses a cached trial if its specification, its data, the code it depends on, the packages that compute and
    the kind of device are the same; `run --no-cache` trains every trial.
    """
    from runners.machine.user_cache import clear as delete
    from runners.machine.user_cache import default_directory, size

    folder = directory or default_directory()
    if folder is None:
        raise SpecError(Problem("the cache is switched off", where="ARCHSWEEP_CACHE", hint="unset it, or give --dir"))
    folder = folder.resolve()
    if clear:
        print(f"{folder}: {_trials(delete(folder))} deleted")
        return
    number, num_bytes = size(folder)
    print(f"{folder}: {_trials(number)}, {num_bytes / 2**20:.1f} MiB")


def _trials(number: int) -> str:
    return "1 trial" if number == 1 else f"{number} trials"
