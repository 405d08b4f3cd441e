"""The user's cache directory: completed trials, and facts about files that were read once. Needs no torch."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from results.store.files import atomic_write
from search_space.parsing.errors import SpecError

__all__ = [
    "clear",
    "code_parts",
    "costs",
    "default_directory",
    "entries",
    "file_digests",
    "image_facts",
    "size",
    "step_times",
    "vocabularies",
    "write_fact",
]

_VARIABLE = "ARCHSWEEP_CACHE"
_OFF = "off"
_VERSION = "v2"


def default_directory() -> Path | None:
    """`$ARCHSWEEP_CACHE`, else `archsweep` in the user's cache folder; None where it is `off`."""
    named = os.environ.get(_VARIABLE)
    if named is not None:
        return None if named.strip().lower() in (_OFF, "") else Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "archsweep"


def entries(directory: Path) -> Path:
    """The folder of the entries, one JSON file each."""
    return directory / _VERSION


def file_digests(directory: Path) -> Path:
    """The folder of the indexes that `FileDigests` keeps."""
    return directory / "file_digests"


def image_facts(directory: Path) -> Path:
    """The folder of what the survey of datasets found in their images."""
    return directory / "image_facts"


def vocabularies(directory: Path) -> Path:
    """The folder of the vocabularies that were trained on datasets of text."""
    return directory / "vocabularies"


def step_times(directory: Path) -> Path:
    """The folder of what training steps took here, by shape."""
    return directory / "step_times"


def costs(directory: Path) -> Path:
    """The folder of what models cost, by the code that counts."""
    return directory / "costs"


def code_parts(directory: Path) -> Path:
    """The file of what counts of source files, by their content."""
    return directory / "code_parts.json"


def write_fact(path: Path, text: str) -> None:
    """Write a file of facts that can be found again: a cache that cannot be written is a cache that is empty."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, text)
    except (OSError, SpecError):
        return


def size(directory: Path) -> tuple[int, int]:
    """Number of trials, and of bytes in them."""
    sizes = [path.stat().st_size for path in entries(directory).glob("*/*.json")]
    return len(sizes), sum(sizes)


def clear(directory: Path) -> int:
    """Delete all trials, and the facts about files; returns the number of trials."""
    number, _ = size(directory)
    facts = (costs, file_digests, image_facts, step_times, vocabularies)
    for folder in (entries(directory), *(each(directory) for each in facts)):
        shutil.rmtree(folder, ignore_errors=True)
    code_parts(directory).unlink(missing_ok=True)
    return number
