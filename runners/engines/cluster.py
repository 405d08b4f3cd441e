"""The Ray cluster trials run on: a private one that ends with the run, or an existing one."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from search_space import Problem, SpecError

__all__ = ["cluster"]

_SESSIONS = Path("/tmp") if os.name == "posix" else Path(tempfile.gettempdir())
_SESSION_PREFIX = "asw-"


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """A connection to the Ray cluster at `address`; without one a private cluster on this machine, ended afterwards.

    A cluster that this process is connected to already is used as it is, and left running.

    Raises:
        SpecError: there is no cluster at `address`.
    """
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    # Unix sockets below this directory may not exceed 107 characters: a short one of our own, removed afterwards.
    _remove_leftovers()
    session = tempfile.mkdtemp(prefix=f"{_SESSION_PREFIX}{os.getpid()}-", dir=_SESSIONS)
    try:
        if address is None or address == "local":
            ray.init(
                address="local", num_cpus=_usable_cpus(), include_dashboard=False, _temp_dir=session,
                object_store_memory=200 * 2**20, **quiet,
            )  # fmt: skip
        else:
            try:
                ray.init(address=address, **quiet)
            except (ConnectionError, ValueError, RuntimeError) as err:
                hint = (
                    "`ray status` on the head node shows its address; a cluster with token authentication also needs "
                    "RAY_AUTH_MODE=token here; without --address archsweep starts a cluster of its own"
                )
                raise SpecError(Problem(f"no Ray cluster at {address!r}: {err}", where="--address", hint=hint)) from err
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(session, ignore_errors=True)


def _remove_leftovers() -> None:
    """Clears away what drivers that were killed left behind: Ray writes some megabytes per session."""
    for left in _SESSIONS.glob(f"{_SESSION_PREFIX}*-*"):
        pid = left.name.removeprefix(_SESSION_PREFIX).split("-")[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, and alive
    return True


def _usable_cpus() -> int:
    """Cores this process may use; a container or `taskset` may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
