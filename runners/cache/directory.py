"""Where the memory across sweeps lies, its size, how it is emptied; what is in it: `cache`, which needs torch."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["clear", "default_directory", "entries", "size"]

_VARIABLE = "ARCHSWEEP_CACHE"
_OFF = "off"
_VERSION = "v1"


def default_directory() -> Path | None:
    """What `ARCHSWEEP_CACHE` names, else `archsweep` in the user's cache folder; None where it says `off`."""
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
    """Forgets everything; returns how many trials there were."""
    number, _ = size(directory)
    shutil.rmtree(entries(directory), ignore_errors=True)
    return number
