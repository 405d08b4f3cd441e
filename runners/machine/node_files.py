"""Files that the trials of a run share on a node: made once, by the first process that needs them, gone with the run.

They are in one folder per user and node, below the temporary directory of the system, which is closed to others (as
`scratch.py`, and for the same reasons): its name is known, so a folder that another user has prepared, or may write
into, is not used. A run holds a shared lock on the folder while it lives. The last one that lets go removes it; after
`kill -9`, which lets go of the lock as well, the next run that comes alone removes the files. What no run would remove
is not written.

A file has its name only once it is whole and on the disk, so a killed process leaves no half file that is read.
Removing one that another process has mapped changes nothing for that process.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["VARIABLE", "node_files_kept", "node_folder", "shared_value"]

VARIABLE = "ARCHSWEEP_NODE_FILES"
"""Environment variable: a directory for the folder, or `off`."""

_OFF = ("", "off")
_IN_USE = ".in-use"
_PATIENCE_SECONDS = 600.0
"""How long a process waits for another one that makes the same file, before it makes its content for itself."""

Value = TypeVar("Value")


def node_folder() -> Path | None:
    """The folder of the files, which need not exist; None where they are switched off, or nothing can be locked."""
    if fcntl is None:
        return None
    named = os.environ.get(VARIABLE)
    if named is not None and named.strip().lower() in _OFF:
        return None
    return Path(named or tempfile.gettempdir()).expanduser() / f"asw-shared-{os.getuid()}"


@contextmanager
def node_files_kept() -> Iterator[None]:
    """Keep the files of this node while the context lasts; the last process in such a context removes them."""
    lock = _kept_lock()
    if lock is None:
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            if _is_alone(lock):
                _remove_folder()
        os.close(lock)


def shared_value(
    name: str,
    *,
    make: Callable[[], Value],
    read: Callable[[Path], Value],
    write: Callable[[Value, Path], object],
    num_bytes: Callable[[Value], int],
) -> Value:
    """The value in the file of this name, which is made and written by the first process that asks for it.

    Where it cannot be shared (no run keeps the folder, it is not safe, the disk is full), every process makes it for
    itself; only the last two are worth a warning.

    Args:
        name: says all that the value depends on.
        read: of a file that `write` wrote; raises where it is damaged.
        num_bytes: of the file, about; as much again has to stay free.
    """
    folder = _kept_folder()
    if folder is None:
        return make()
    path = folder / name
    if (found := _read(path, read)) is not None:
        return found
    lock = FileLock(folder / f"{name}.lock", timeout=_PATIENCE_SECONDS, mode=0o600)
    try:
        lock.acquire()
    except (OSError, NotImplementedError, Timeout) as err:
        _warn(f"{path} cannot be locked: {_reason(err)}")
        return make()
    try:
        if (found := _read(path, read)) is not None:
            return found
        value = make()
        return value if not _is_written(path, value, write, num_bytes) else _read(path, read) or value
    finally:
        lock.release()


def _is_written(
    path: Path, value: Value, write: Callable[[Value, Path], object], num_bytes: Callable[[Value], int]
) -> bool:
    for left in path.parent.glob(f"{path.name}.*.part"):  # of a killed process: this one has the lock
        left.unlink(missing_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        free, needed = shutil.disk_usage(path.parent).free, 2 * num_bytes(value)
        if free < needed:
            _warn(f"{path.parent} has {free / 2**30:.2f} GiB free, and {needed / 2**30:.2f} are asked for")
            return False
        write(value, part)
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fchmod(descriptor, 0o400)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(part, path)
        return True
    except Exception as err:  # a library that writes has errors of its own for a full disk
        _warn(f"{path} cannot be written: {_reason(err)}")
        with suppress(OSError):
            part.unlink(missing_ok=True)
        return False


def _read(path: Path, read: Callable[[Path], Value]) -> Value | None:
    if not path.exists():
        return None
    try:
        return read(path)
    except Exception as err:  # the same: whatever it is, the value is made again
        if path.exists():
            _warn(f"{path} cannot be read: {_reason(err)}")
        return None


def _kept_folder() -> Path | None:
    """The folder, if a run keeps it."""
    try:
        lock = _opened(make=False)
    except FileNotFoundError:
        return None
    if lock is None:
        return None
    try:
        return None if _is_alone(lock) else node_folder()
    except OSError:
        return None
    finally:
        os.close(lock)


def _kept_lock() -> int | None:
    """The lock of the folder, shared with other runs; None where the folder cannot be used."""
    if fcntl is None:
        return None
    while True:
        try:
            lock = _opened(make=True)
        except FileNotFoundError:  # the last run removed the folder just now
            continue
        if lock is None:
            return None
        try:
            if _is_alone(lock):
                _remove_files()  # left by processes that were killed
            fcntl.flock(lock, fcntl.LOCK_SH)
            if _is_current(lock):  # not so, if a run ended between opening and locking
                return lock
        except OSError as err:
            _warn(f"{node_folder()} cannot be locked: {_reason(err)}")
            os.close(lock)
            return None
        os.close(lock)


def _opened(*, make: bool) -> int | None:
    """Descriptor of the lock of the folder; None where the folder is switched off or not ours alone.

    Raises:
        FileNotFoundError: the folder or its lock is not there (any more).
    """
    folder = node_folder()
    if folder is None:
        return None
    try:
        if make:
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
        found = folder.lstat()
        is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
        if not is_ours:
            _warn(f"{folder} is not a folder of this user alone")
            return None
        return os.open(folder / _IN_USE, os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if make else 0), 0o600)
    except FileNotFoundError:
        if make and not folder.parent.exists():
            _warn(f"{folder.parent} does not exist")
            return None
        raise
    except OSError as err:
        _warn(f"{folder} cannot be used: {_reason(err)}")
        return None


def _is_alone(lock: int) -> bool:
    """Whether no other process keeps the folder; this one then has its lock alone."""
    assert fcntl is not None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return _is_current(lock)


def _is_current(lock: int) -> bool:
    """Whether the folder still has the file whose descriptor this is: the last run removes both."""
    folder = node_folder()
    assert folder is not None
    try:
        return os.path.samestat(os.stat(folder / _IN_USE), os.fstat(lock))
    except FileNotFoundError:
        return False


def _remove_files() -> None:
    """Remove the files, all but the lock."""
    folder = node_folder()
    assert folder is not None
    for path in folder.iterdir():
        if path.name != _IN_USE:
            with suppress(OSError):
                path.unlink()


def _remove_folder() -> None:
    """Remove the files, then the lock, which this process has alone. A folder in which the next run has one stays."""
    folder = node_folder()
    assert folder is not None
    _remove_files()
    (folder / _IN_USE).unlink()
    folder.rmdir()


def _reason(err: BaseException) -> str:
    return getattr(err, "strerror", None) or str(err) or type(err).__name__


def _warn(text: str) -> None:
    print(f"archsweep: warning: decoded data is not shared between trials: {text}", file=sys.stderr, flush=True)
