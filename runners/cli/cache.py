"""`archsweep cache`: size of the trial cache, and clearing it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from runners.cli.arguments import AsJson
from search_space import Problem, SpecError

__all__ = ["cache"]


def cache(
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Cache directory. Default: $ARCHSWEEP_CACHE or ~/.cache/archsweep.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Delete all cached trials.")] = False,
    as_json: AsJson = False,
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
    deleted = delete(folder) if clear else None
    if deleted is not None and not as_json:
        print(f"{folder}: {_trials(deleted)} deleted")
        return
    number, num_bytes = size(folder)
    if as_json:
        from runners.cli.documents.document import write_document
        from runners.cli.documents.of_sweeps import CacheDocument

        mib = num_bytes / 2**20
        found = CacheDocument(directory=str(folder), num_trials=number, mib=mib, num_deleted=deleted)
        write_document(found, sys.stdout)
        return
    print(f"{folder}: {_trials(number)}, {num_bytes / 2**20:.1f} MiB")


def _trials(number: int) -> str:
    return "1 trial" if number == 1 else f"{number} trials"
