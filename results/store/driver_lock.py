"""The lock of a run directory, `driver.lock`, which admits one driver and refuses a second one.

The lock is the operating system's, on a descriptor that is opened here (filelock: flock on Unix, LockFileEx on
Windows), so it is released when its holder ends, in any way, and child processes that inherit the descriptor hold
it, too; the text in the file only serves the message. `filelock.FileLock` would not do: it closes its descriptor in
forked children. The file itself stays: removing it would let two drivers lock two files of the same name.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from results.store.files import readable_write_errors
from results.store.links import opener_within
from results.store.run_layout import RunDir
from search_space.parsing.errors import Problem, SpecError
from search_space.parsing.visible import visible

try:
    import fcntl
except ImportError:  # Windows, where runs are only read
    fcntl = None

__all__ = ["Driver", "DriverLock", "running_driver"]

# `archsweep status` takes the lock shared for some microseconds to find out whether it is held; a driver that starts
# in that moment must not be refused for it.
_ATTEMPTS = 5
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Driver:
    """The process that works on a run. Unknown parts are 0 or empty (it has just started)."""

    pid: int = 0
    host: str = ""
    since: str = ""

    def __str__(self) -> str:
        if not self.pid:
            return "a driver that has just started"
        return visible(f"pid {self.pid} on {self.host}, since {self.since}")


class DriverLock:
    """Lock of the run directory, held by this process between `acquire` and `release`."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = Path(run_dir)
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            SpecError: another driver holds it; the message names it, its start and what to do. Or the file system
                has no locks.
        """
        path = RunDir.of(self.run_dir).lock
        with readable_write_errors(path):
            descriptor = opener_within(self.run_dir)(str(path), os.O_RDWR | os.O_CREAT)
        try:
            try:
                locked = _try_lock(descriptor)
            except OSError as err:  # Lustre without `flock`, NFS whose lock service is down
                raise SpecError(_no_lock_support(self.run_dir, err)) from err
            if not locked:
                raise SpecError(_refusal(self.run_dir, _read_driver(path)))
            driver = {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            with readable_write_errors(path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(driver).encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock; does nothing if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def running_driver(run_dir: str | os.PathLike[str]) -> Driver | None:
    """The driver that works on this run now, or None. Never waits for it and changes nothing.

    On Windows its name is unknown, because a locked file cannot be read there.
    """
    path = RunDir.of(run_dir).lock
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return _read_driver(path) if _is_locked(descriptor) else None
    except OSError:
        return None  # a file system without locks: no driver can be at work there
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    from filelock import lock_descriptor  # drivers only: views of a run look at the lock without it

    for attempt in range(_ATTEMPTS):
        if lock_descriptor(descriptor, blocking=False):
            return True
        if attempt + 1 < _ATTEMPTS:
            time.sleep(_PAUSE_SECONDS)
    return False


def _is_locked(descriptor: int) -> bool:
    """Whether another process holds the lock. Tried with a shared lock, which filelock lacks: two readers that try at
    the same moment would take one another for a driver."""
    if fcntl is None:
        return not _try_lock(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _read_driver(path: Path) -> Driver:
    try:
        content = json.loads(path.read_text())
        return Driver(pid=int(content["pid"]), host=str(content["host"]), since=str(content["since"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return Driver()


def _refusal(run_dir: Path, driver: Driver) -> Problem:
    if driver.pid and driver.host == socket.gethostname() and not _is_alive(driver.pid):
        return Problem(
            f"the driver of this run has ended ({driver}), but a process that it started still holds the lock",
            where=str(run_dir),
            hint="such processes end by themselves within seconds: run the same command again",
        )
    stop = f"stop it with `kill -INT {driver.pid}` on {driver.host}, " if driver.pid else ""
    return Problem(
        f"another driver is at work on this run: {driver}",
        where=str(run_dir),
        hint=f"watch it with `archsweep status {run_dir}`,\n{stop}or give this sweep another `name` to run beside it",
    )


def _no_lock_support(run_dir: Path, err: OSError) -> Problem:
    return Problem(
        f"the file system of the run directory gives no lock: {err.strerror}",
        where=str(run_dir),
        hint="mount it with locks (Lustre: `-o flock`; NFS: without `nolock`, its lock service running),\n"
        "or choose another directory",
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
