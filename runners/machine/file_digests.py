"""Facts about the content of files, such as digests: read once and afterwards known by size and times.

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

__all__ = ["FAULT", "FileDigests", "FileFacts", "user_file_digests"]

FAULT = "!"
"""First character of a fact that says why a file cannot be read. Faults are not kept: they may pass."""

_COARSEST_CLOCK_NS = 2 * 10**9  # FAT's; network file systems have a second at most
_MOST_THREADS = 8  # hashing and decoding release the interpreter lock, and a disk answers several requests at a time
_MOST_AT_ONCE = 20_000  # files between two times that what was read is kept: an interrupted look is continued


class _Known(msgspec.Struct, array_like=True, gc=False):
    """What is known of a file; times in nanoseconds since 1970."""

    size: int
    modified: int
    changed: int
    read_at: int
    fact: str


class FileFacts:
    """A fact about each of many files, as text.

    Args:
        directory: keeps the facts between processes, one small file for each `name`; None: in memory only.
        read: finds the fact of a file; a text that begins with `FAULT` says why there is none.
        announce: message before much is read, from the number of files and their bytes; empty for none.
    """

    def __init__(
        self, directory: Path | None, read: Callable[[str], str], announce: Callable[[str, int, int], str]
    ) -> None:
        self._directory = directory
        self._read = read
        self._announce = announce
        self._known: dict[str, dict[str, _Known]] = {}

    def of(
        self, name: str, paths: Sequence[str], *, say: Callable[[str], None] = lambda text: None
    ) -> list[tuple[int, str]]:
        """Size in bytes and fact of every file, in their order.

        Args:
            name: of this set of files, the same every time: the directory of a dataset.
            say: called with a message before much is read.

        Raises:
            SpecError: files cannot be read; the message names the first ones.
        """
        known = self._load(name)
        facts = {path: _facts(path) for path in paths}
        found = {path: known[path] for path in facts if _is_current(known.get(path), facts[path])}
        stale = [path for path in facts if path not in found]
        if text := self._announce(name, len(stale), sum(facts[path][0] for path in stale)):
            say(text)
        with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
            for start in range(0, len(stale), _MOST_AT_ONCE):
                part = stale[start : start + _MOST_AT_ONCE]
                now = time.time_ns()
                for path, fact in zip(part, pool.map(self._read, part, chunksize=64), strict=True):
                    found[path] = _Known(*facts[path], now, fact)
                if len(part) == _MOST_AT_ONCE:
                    self._keep(name, found)
        if stale or len(found) != len(known):
            self._keep(name, found)  # without files that are gone
        return [(found[path].size, found[path].fact) for path in paths]

    def known(self, name: str, paths: Sequence[str]) -> list[str | None]:
        """Fact of every file where it is known already; None where the file would have to be read."""
        known = self._load(name)
        return [self._current(known.get(path), path) for path in paths]

    def _current(self, known: _Known | None, path: str) -> str | None:
        try:
            return known.fact if known is not None and _is_current(known, _facts(path)) else None
        except SpecError:
            return None

    def _keep(self, name: str, found: dict[str, _Known]) -> None:
        self._known[name] = {path: each for path, each in found.items() if not each.fact.startswith(FAULT)}
        self._save(name, self._known[name])

    def _load(self, name: str) -> dict[str, _Known]:
        if name not in self._known:
            self._known[name] = {}
            path = self._path(name)
            try:
                if path is not None:
                    kept = msgspec.msgpack.decode(path.read_bytes(), type=dict[bytes, _Known])
                    self._known[name] = {os.fsdecode(each): fact for each, fact in kept.items()}
            except (OSError, msgspec.DecodeError):
                pass  # no index, or none of ours: the files are read
        return self._known[name]

    def _save(self, name: str, known: dict[str, _Known]) -> None:
        path = self._path(name)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # As bytes: names of files need not be text.
            atomic_write(path, msgspec.msgpack.encode({os.fsencode(each): fact for each, fact in known.items()}))
        except (OSError, SpecError):
            pass  # a cache that cannot be written costs time only

    def _path(self, name: str) -> Path | None:
        if self._directory is None:
            return None
        return self._directory / f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.msgpack"


class FileDigests(FileFacts):
    """SHA-256 of files, as 64 hexadecimal digits, kept in a directory; None: in memory only."""

    def __init__(self, directory: Path | None) -> None:
        super().__init__(directory, _digest, _announce)


def user_file_digests() -> FileDigests:
    """Digests that are kept in the user's cache directory; in memory only where the cache is off."""
    directory = default_directory()
    return FileDigests(None if directory is None else file_digests(directory))


def _announce(name: str, files: int, size: int) -> str:
    return f"reading {files} files of {name} ({size / 2**30:.1f} GiB) for their fingerprint, once" * (size > 2**30)


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
