"""Scratch folders that are removed after their process has ended, even if it was killed.

A killed driver cannot clean up, so its folders are removed by the next process that creates one. A folder is locked
while its process lives (the kernel's lock on the folder itself, released when the process ends): unlike a process id, a
lock cannot be confused with that of another process or another container. Only folders of our own user are touched.

On a shared machine a scratch folder is closed to others (mode 0700 whatever the umask), and new: its name is random,
and a folder that another user has prepared is not used.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import lock_descriptor

__all__ = ["PREFIX", "SHORT_DIRECTORY", "scratch_folder"]

PREFIX = "asw-"
_PATIENCE_SECONDS, _PAUSE_SECONDS = 5.0, 0.05
_KINDS = ("forks", "processes", "ray", "tune")
SHORT_DIRECTORY = Path("/tmp") if os.name == "posix" else Path(tempfile.gettempdir())
"""Directory for folders with Unix sockets, whose paths may not exceed 107 characters. Ray's default, too."""


@contextmanager
def scratch_folder(kind: str, *, directory: Path | None = None) -> Iterator[Path]:
    """New scratch folder, removed afterwards; leftovers of dead processes in the same directory are removed first.

    Args:
        kind: one of `forks`, `processes`, `ray`, `tune`; part of the name.
        directory: parent directory; default: the temporary directory of the system.
    """
    assert kind in _KINDS, kind
    place = directory or Path(tempfile.gettempdir())
    _remove_leftovers(place)
    folder, lock = _locked_folder(kind, place)
    try:
        yield folder
    finally:
        try:
            _remove(folder)
        except KeyboardInterrupt:  # a second Ctrl-C: finish first, it is quick
            _remove(folder)
            raise
        finally:
            os.close(lock)


def _locked_folder(kind: str, place: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-{os.getpid()}-", dir=place))
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        with suppress(OSError):  # no lock support: then no other process can lock and remove it either
            lock_descriptor(lock)
        if folder.is_dir():
            return folder, lock
        os.close(lock)  # another process removed it as a leftover before it was locked


def _remove(folder: Path) -> None:
    """Remove a folder, and retry for some seconds: processes that are just ending may still write into it."""
    patience = time.monotonic() + _PATIENCE_SECONDS
    shutil.rmtree(folder, ignore_errors=True)
    while folder.exists() and time.monotonic() < patience:
        time.sleep(_PAUSE_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(place: Path) -> None:
    for kind in _KINDS:
        for left in place.glob(f"{PREFIX}{kind}-*"):
            with suppress(OSError):  # of another user, or just removed
                lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    if os.fstat(lock).st_uid == os.getuid() and lock_descriptor(lock, blocking=False):
                        shutil.rmtree(left, ignore_errors=True)
                finally:
                    os.close(lock)
