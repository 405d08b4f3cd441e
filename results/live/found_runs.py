"""The runs below a folder, found again at every look: runs appear and disappear while their pages are open.

A run is known by a key, a hash of its path below the folder. Requests name keys; no part of a request becomes part of a
path.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from results.store.run_layout import RunDir

__all__ = ["FoundRun", "FoundRuns", "find_runs", "short_key"]

_DEEPEST = 4  # runs/<project>/<month>/<run>
_MOST_FOLDERS = 20_000


@dataclass(frozen=True)
class FoundRun:
    """A run directory; `name` is its path below the folder."""

    key: str
    name: str
    files: RunDir


@dataclass(frozen=True)
class FoundRuns:
    """The runs by their keys, in the order of their names.

    Attributes:
        unreadable: folders that could not be entered, by their names.
        is_whole: False where there are more folders than are looked through.
        is_there: whether the folder itself exists.
    """

    runs: dict[str, FoundRun]
    unreadable: tuple[str, ...] = ()
    is_whole: bool = True
    is_there: bool = True


def short_key(name: str) -> str:
    """A key for addresses: letters and digits, whatever the name contains."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:16]


def find_runs(folder: Path) -> FoundRuns:
    """All runs at or below the folder, four levels deep. Links to folders are followed, each folder is entered once."""
    if not folder.is_dir():
        return FoundRuns({}, is_there=False)
    unreadable: list[str] = []
    budget = [_MOST_FOLDERS]
    found = sorted(_walk(str(folder), "", 0, set(), unreadable, budget))
    runs = [FoundRun(short_key(name), name, RunDir(Path(path))) for name, path in found]
    return FoundRuns({run.key: run for run in runs}, tuple(sorted(unreadable)), is_whole=budget[0] > 0)


def _walk(
    path: str, name: str, depth: int, entered: set[tuple[int, int]], unreadable: list[str], budget: list[int]
) -> Iterator[tuple[str, str]]:
    if budget[0] <= 0:
        return
    budget[0] -= 1
    try:
        identity = os.stat(path)
        if (identity.st_dev, identity.st_ino) in entered:  # a link to a folder above, or a second one to the same
            return
        entered.add((identity.st_dev, identity.st_ino))
        if _is_run(path):
            yield name or os.path.basename(os.path.abspath(path)), path
            return
        with os.scandir(path) as entries:
            folders = sorted(each.name for each in entries if not each.name.startswith(".") and each.is_dir())
    except OSError as err:
        if not isinstance(err, FileNotFoundError):  # removed while we looked
            unreadable.append(name or path)
        return
    if depth < _DEEPEST:
        for each in folders:
            below = os.path.join(name, each) if name else each
            yield from _walk(os.path.join(path, each), below, depth + 1, entered, unreadable, budget)


def _is_run(path: str) -> bool:
    run_dir = RunDir(Path(path))
    # lexists: whatever is there under this name, also a pipe or a broken link, makes it a run that can be shown or
    # whose page says why not.
    return os.path.lexists(run_dir.plan) or os.path.lexists(run_dir.ledger)
