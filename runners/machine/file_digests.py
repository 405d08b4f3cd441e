"""Digests of the content of files, read once and afterwards known by size and times.

A file is read again if its size, its time of modification or its time of change differs from when it was read. The
time of change (`st_ctime`) is there because copies with `cp -p`, `rsync -a` and `tar` have the time of modification of
their original. Two versions of a file within one tick of the file system's clock look alike; so a file that changed
less than two seconds before it was read is read again next time, as git does with its index.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from results.store.files import atomic_write
from runners.machine.user_cache import default_directory, file_digests
from search_space.parsing.errors import Problem, SpecError

__all__ = ["FileDigests", "user_file_digests"]

_COARSEST_CLOCK_NS = 2 * 10**9  # FAT's; network file systems have a second at most
_MOST_THREADS = 8  # hashing releases the interpreter lock, and a disk answers several requests at a time


class _Known(msgspec.Struct, array_like=True, gc=False):
    """What is known of a file; times in nanoseconds since 1970."""

    size: int
    modified: int
    changed: int
    read_at: int
    digest: str


class FileDigests:
    """SHA-256 of files, as 64 hexadecimal digits.

    Args:
        directory: keeps the digests between processes, one small file for each `name`; None: in memory only.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._known: dict[str, dict[str, _Known]] = {}

    def of(
        self, name: str, paths: Sequence[str], *, say: Callable[[str], None] = lambda text: None
    ) -> list[tuple[int, str]]:
        """Size in bytes and digest of every file, in their order.

        Args:
            name: of this set of files, the same every time: the directory of a dataset.
            say: called with a message before more than a gibibyte is read.

        Raises:
            SpecError: files cannot be read; the message names the first ones.
        """
        known = self._load(name)
        now = time.time_ns()
        facts = {path: _facts(path) for path in paths}
        stale = [path for path in facts if not _is_current(known.get(path), facts[path])]
        amount = sum(facts[path][0] for path in stale)
        if amount > 2**30:
            say(f"reading {len(stale)} files of {name} ({amount / 2**30:.1f} GiB) for their fingerprint, once")
        with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
            read = dict(zip(stale, pool.map(_digest, stale, chunksize=64), strict=True))
        found = {
            path: _Known(*facts[path], now, read[path]) if path in read else known[path] for path in facts
        }  # without files that are gone
        if stale or len(found) != len(known):
            self._known[name] = found
            self._save(name, found)
        return [(found[path].size, found[path].digest) for path in paths]

    def _load(self, name: str) -> dict[str, _Known]:
        if name not in self._known:
            self._known[name] = {}
            path = self._path(name)
            try:
                if path is not None:
                    self._known[name] = msgspec.msgpack.decode(path.read_bytes(), type=dict[str, _Known])
            except (OSError, msgspec.DecodeError):
                pass  # no index, or none of ours: the files are read
        return self._known[name]

    def _save(self, name: str, known: dict[str, _Known]) -> None:
        path = self._path(name)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, msgspec.msgpack.encode(known))
        except (OSError, SpecError):
            pass  # a cache that cannot be written costs time only

    def _path(self, name: str) -> Path | None:
        if self._directory is None:
            return None
        return self._directory / f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.msgpack"


def user_file_digests() -> FileDigests:
    """Digests that are kept in the user's cache directory; in memory only where the cache is off."""
    directory = default_directory()
    return FileDigests(None if directory is None else file_digests(directory))


def _facts(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)
    except OSError as err:
        raise _unreadable(path, err) from err
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _is_current(known: _Known | None, facts: tuple[int, int, int]) -> bool:
    if known is None or (known.size, known.modified, known.changed) != facts:
        return False
    return max(facts[1:]) + _COARSEST_CLOCK_NS < known.read_at


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as err:
        raise _unreadable(path, err) from err


def _unreadable(path: str, err: OSError) -> SpecError:
    return SpecError(Problem(f"cannot read: {err.strerror or err}", where=path, hint="the dataset is incomplete"))
