"""Temporary folders that live as long as the process that made them, however it ends.

A driver that is killed cannot clear up, so its folders are removed by whoever makes the next one. A folder is locked
while its process lives (the kernel's lock on the folder itself, which ends with the process): unlike a process id, that
cannot be taken for another process, nor be looked for in the wrong container. Only folders of our own user are touched.
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
_KINDS = ("processes", "ray", "tune")
SHORT_DIRECTORY = Path("/tmp") if os.name == "posix" else Path(tempfile.gettempdir())
"""Where folders for Unix sockets lie, whose paths may not exceed 107 characters. Ray's own default, too."""


@contextmanager
def scratch_folder(kind: str, *, directory: Path | None = None) -> Iterator[Path]:
    """A new folder, gone afterwards; what dead processes left behind in the same place goes first.

    Args:
        kind: one of `processes`, `ray`, `tune`; part of the name.
        directory: where; default: the temporary directory of the system.
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
        except KeyboardInterrupt:  # somebody is impatient, and this takes no time
            _remove(folder)
            raise
        finally:
            os.close(lock)


def _locked_folder(kind: str, place: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-{os.getpid()}-", dir=place))
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        with suppress(OSError):  # no locks here: then nobody will get one and remove it
            lock_descriptor(lock)
        if folder.is_dir():
            return folder, lock
        os.close(lock)  # somebody took it for a leftover before it was locked


def _remove(folder: Path) -> None:
    """Processes that were told to end may write for a moment longer, and what they write stands in the way."""
    patience = time.monotonic() + _PATIENCE_SECONDS
    shutil.rmtree(folder, ignore_errors=True)
    while folder.exists() and time.monotonic() < patience:
        time.sleep(_PAUSE_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(place: Path) -> None:
    for kind in _KINDS:
        for left in place.glob(f"{PREFIX}{kind}-*"):
            with suppress(OSError):  # somebody else's, or just gone
                lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    if os.fstat(lock).st_uid == os.getuid() and lock_descriptor(lock, blocking=False):
                        shutil.rmtree(left, ignore_errors=True)
                finally:
                    os.close(lock)
