"""Atomic writes with readable errors, and the refusal of pipes and devices under the names of a run's files.

Separate because every file of a run directory needs the same care: a sweep of days must survive a killed process, a
full disk and a reader in another shell.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from results.store.run_layout import RunDir, temporary_path
from search_space.parsing.errors import Problem, SpecError

__all__ = [
    "atomic_write",
    "atomic_writer",
    "fsync_directory",
    "readable_write_errors",
    "refuse_special_files",
    "special_file",
]

_REASONS = {
    errno.ENOSPC: (
        "the disk is full",
        "free some space and run the same command again: it continues",
    ),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run the same command again: it continues"),
    errno.EFBIG: (
        "the file may not grow further",
        "raise the limit (`ulimit -f`) and run the same command again: it continues",
    ),
    errno.EROFS: ("the file system is read-only", "choose a directory that can be written"),
    errno.EACCES: ("no permission to write", "choose a directory that can be written, or change its permissions"),
    errno.ELOOP: (
        "a symbolic link leads out of the run directory",
        "put the file itself there, or move the link away",
    ),
    errno.EPERM: ("no permission to write", "choose a directory that can be written, or change its permissions"),
}


@contextmanager
def readable_write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the body into a SpecError that names `path`, the reason and what to do."""
    try:
        yield
    except OSError as err:
        reason, remedy = _REASONS.get(err.errno or 0, (err.strerror or str(err), "check the path and the disk"))
        raise SpecError(Problem(f"cannot write: {reason}", where=str(path), hint=remedy)) from err


def atomic_write(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content` in one step: a reader sees the old file or the new one, also after a crash."""
    with atomic_writer(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """A stream whose content replaces `path` at the end of the body; if that raises, nothing has changed."""
    temporary = temporary_path(path)  # of two shells at once the last rename wins, and both are whole
    with readable_write_errors(path):
        try:
            temporary.unlink(missing_ok=True)  # left by a killed process of the same id
            with open(temporary, "xb") as stream:  # which makes the file: a link of this name is not followed
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_directory(path.parent)


def fsync_directory(directory: Path) -> None:
    """Make the names in `directory` durable, where the file system can."""
    if os.name == "nt":  # cannot open folders
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as err:
        if err.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES):
            raise
    finally:
        os.close(descriptor)


def refuse_special_files(run_dir: RunDir) -> None:
    """Check the entries of the run directory, links followed; whether it is a directory is checked elsewhere.

    Raises:
        SpecError: an entry is neither a plain file nor a folder.
    """
    try:
        with os.scandir(run_dir) as entries:
            names = sorted(
                each.name for each in entries if not each.is_file() and not each.is_dir() and _is_there(each)
            )
    except OSError:
        return
    if names:
        raise SpecError([special_file(run_dir.path / name) for name in names])


def special_file(path: Path) -> Problem:
    """The refusal of a pipe or a device."""
    hint = "a pipe or a device has no place in a run directory: move it away"
    return Problem("is no plain file", where=str(path), hint=hint)


def _is_there(entry: os.DirEntry[str]) -> bool:
    return os.path.exists(entry.path)  # a dangling link counts as no file
