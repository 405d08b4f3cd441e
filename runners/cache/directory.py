"""Directory of the trial cache: place, size, clearing. Its entries: `trial_cache.py`, which needs torch."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["clear", "default_directory", "entries", "size"]

_VARIABLE = "ARCHSWEEP_CACHE"
_OFF = "off"
_VERSION = "v1"


def default_directory() -> Path | None:
    """`$ARCHSWEEP_CACHE`, else `archsweep` in the user's cache folder; None where it is `off`."""
    named = os.environ.get(_VARIABLE)
    if named is not None:
        return None if named.strip().lower() in (_OFF, "") else Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "archsweep"


def entries(directory: Path) -> Path:
    """The folder of the entries, one JSON file each."""
    return directory / _VERSION


def size(directory: Path) -> tuple[int, int]:
    """Number of trials and of bytes."""
    sizes = [path.stat().st_size for path in entries(directory).glob("*/*.json")]
    return len(sizes), sum(sizes)


def clear(directory: Path) -> int:
    """Delete all entries; returns their number."""
    number, _ = size(directory)
    shutil.rmtree(entries(directory), ignore_errors=True)
    return number
