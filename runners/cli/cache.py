"""`archsweep cache`: the memory across sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search_space import Problem, SpecError

__all__ = ["cache"]


def cache(
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Its folder; default: ARCHSWEEP_CACHE, else ~/.cache/archsweep.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Forget every trial.")] = False,
) -> None:
    """Say how many trials earlier sweeps left in the cache, or forget them.

    `run` takes a trial from it if its specification, the code that it depends on, torch, timm and the kind of device
    are the same; `run --no-cache` trains every trial.
    """
    from runners.cache import TrialCache, default_directory

    folder = directory or default_directory()
    if folder is None:
        raise SpecError(Problem("the cache is switched off", where="ARCHSWEEP_CACHE", hint="unset it, or give --dir"))
    memory = TrialCache(folder.resolve(), device="")
    if clear:
        print(f"{memory.directory}: {_trials(memory.clear())} forgotten")
        return
    number, size = memory.size()
    print(f"{memory.directory}: {_trials(number)}, {size / 2**20:.1f} MiB")


def _trials(number: int) -> str:
    return "1 trial" if number == 1 else f"{number} trials"
