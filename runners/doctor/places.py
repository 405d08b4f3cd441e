"""Checks of folders: free space and locks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import lock_descriptor

from runners.doctor.finding import GIB, Finding, Request, gib
from runners.machine.filesystems import check_run_location
from runners.machine.scratch import SHORT_DIRECTORY
from runners.machine.user_cache import default_directory
from search_space import SpecError

__all__ = [
    "FileSystemFacts",
    "PlaceFacts",
    "check_disk",
    "check_file_system",
    "judge_disk",
    "judge_file_system",
]

_LEAST_FREE = 1 * GIB
_LEAST_INODES = 10_000
_FULLEST = 0.95  # Ray's own limit: it creates no object on a disk that is fuller


@dataclass(frozen=True)
class PlaceFacts:
    """A folder that is written to. `error`: why it cannot be, empty if it can; sizes in bytes."""

    purpose: str
    path: str
    free: float = 0.0
    total: float = 0.0
    free_inodes: float | None = None
    error: str = ""


@dataclass(frozen=True)
class FileSystemFacts:
    """The file system of the run directory. `lock_error`: error of a lock; `is_exclusive`: a second one is refused;
    `warning`, `refusal`: what is known of its kind."""

    path: str
    lock_error: str = ""
    is_exclusive: bool = True
    warning: str = ""
    refusal: str = ""


def check_disk(request: Request) -> Finding:
    places = [("run directory", request.run_root), ("temporary files", Path(tempfile.gettempdir()))]
    places.append(("Ray", SHORT_DIRECTORY))
    cache = default_directory()
    return judge_disk([_look(*place) for place in [*places, *([("cache", cache)] if cache else [])]])


def judge_disk(places: Sequence[PlaceFacts]) -> Finding:
    """Judge the free space. The first of the places is the run directory; several in one folder are reported once."""
    wrong: list[str] = []
    lacking: list[str] = []
    for place in {place.path: place for place in reversed(places)}.values():
        if place.error:
            (lacking if place.purpose == "cache" else wrong).append(f"{place.path}: cannot write: {place.error}")
            continue
        name = f"{place.path} ({place.purpose})"
        if place.free < _LEAST_FREE:
            lacking.append(f"{gib(place.free)} free in {name}")
        elif place.purpose == "Ray" and place.free < (1 - _FULLEST) * place.total:
            lacking.append(f"{name} is {100 * (1 - place.free / place.total):.0f} % full")
        if place.free_inodes is not None and place.free_inodes < _LEAST_INODES:
            lacking.append(f"{place.free_inodes:.0f} more files fit into {name}")
    if wrong:
        return Finding("disk", "problem", "; ".join(sorted(wrong)), "run elsewhere, or --out DIR")
    if lacking:
        remedy = (
            f"free some; Ray stops at {100 * _FULLEST:.0f} % of its disk; ARCHSWEEP_CACHE=off does without the cache"
        )
        return Finding("disk", "warning", "; ".join(sorted(lacking)), remedy)
    return Finding("disk", "ok", f"{gib(places[0].free)} free in {places[0].path}")


def check_file_system(request: Request) -> Finding:
    folder = _existing(request.run_root)
    warning = refusal = ""
    try:
        warning = check_run_location(request.run_root) or ""
    except SpecError as err:
        refusal = err.problems[0].message
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as first, open(first.name, "rb") as second:
            try:
                locked = lock_descriptor(first.fileno(), blocking=False)
                is_exclusive = locked and not lock_descriptor(second.fileno(), blocking=False)
            except OSError as err:
                return judge_file_system(FileSystemFacts(str(folder), err.strerror or str(err)))
            error = "" if locked else "that of a new file is refused"
            return judge_file_system(FileSystemFacts(str(folder), error, is_exclusive, warning, refusal))
    except OSError as err:
        refusal = refusal or f"{folder}: cannot write: {err.strerror}"
        return judge_file_system(FileSystemFacts(str(folder), refusal=refusal))


def judge_file_system(facts: FileSystemFacts) -> Finding:
    """Judge the file system of the run directory: its locks keep a second driver out."""
    name = "file system"
    elsewhere = "choose a local folder or a shared POSIX file system with --out"
    if facts.refusal:
        return Finding(name, "problem", facts.refusal, elsewhere)
    if facts.lock_error:
        text = f"{facts.path}: no locks: {facts.lock_error}"
        return Finding(
            name, "problem", text, f"mount it with locks (Lustre: -o flock, NFS: without nolock), or {elsewhere}"
        )
    if not facts.is_exclusive:
        text = f"{facts.path}: two processes got the same lock, so two drivers could write into one run"
        return Finding(name, "problem", text, elsewhere)
    if facts.warning:
        return Finding(name, "warning", facts.warning, elsewhere)
    return Finding(name, "ok", f"{facts.path}: locks hold")


def _look(purpose: str, path: Path) -> PlaceFacts:
    folder = _existing(path)
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
        space = os.statvfs(folder)
    except OSError as err:
        return PlaceFacts(purpose, str(folder), error=err.strerror or str(err))
    inodes = space.f_favail if space.f_files else None  # some file systems have no such limit
    return PlaceFacts(purpose, str(folder), space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize, inodes)


def _existing(path: Path) -> Path:
    """The folder, or the nearest one above it that is there: looking makes none."""
    path = path.expanduser().absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())
