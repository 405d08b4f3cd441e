"""A Ray cluster of our own on this machine: started with patience, and ended with all that it started.

Ray waits half a minute for its own processes. On a machine that is busy they need longer, and a second start, with
their files in memory, less: so it is tried again, after what the first one has left is ended.
"""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray

from archsweep.own_packages import ROOT, ROOT_VARIABLE
from runners.machine.cgroups import local_limits
from runners.machine.environment import environment_variable
from runners.machine.scratch import SHORT_DIRECTORY, scratch_folder
from search_space.parsing.errors import Problem, SpecError, reason_of

__all__ = ["private_cluster"]

_TOKEN = "RAY_AUTH_TOKEN"
_ATTEMPTS = 3
_GCS_WAIT = "RAY_gcs_server_port_wait_time_s"
_GCS_SECONDS = "120"
"""Seconds that Ray waits for its head process: its own half a minute is too short for a busy machine."""
_PRESTART = "RAY_prestart_worker_first_driver"
"""Whether Ray starts a worker for every core in advance. Trials run in actors, which get processes of their own, so
these would only import Ray and be idle."""


@contextmanager
def private_cluster(**options: Any) -> Iterator[None]:
    """A connection to a new cluster of this machine, which ends with the body.

    Args:
        options: of `ray.init`, beyond those of every private cluster.

    Raises:
        SpecError: Ray did not start.
    """
    with scratch_folder("ray", directory=SHORT_DIRECTORY) as scratch:
        try:
            try:
                _start(scratch, options)
            except BaseException:  # also Ctrl-C
                _end_processes_of(scratch)
                raise
            yield
        finally:
            ray.shutdown()


def _start(scratch: Path, options: dict[str, Any]) -> None:
    began = time.monotonic()
    for attempt in range(1, _ATTEMPTS + 1):
        # Ray opens its folders to every user, again and again. So they are inside of ours, which stays closed.
        session = scratch / ("r" if attempt == 1 else f"r{attempt}")
        session.mkdir(mode=0o700)
        try:
            with (
                _nothing_elsewhere(scratch),
                environment_variable(ROOT_VARIABLE, ROOT),
                environment_variable(_GCS_WAIT, os.environ.get(_GCS_WAIT, _GCS_SECONDS)),
                environment_variable(_PRESTART, os.environ.get(_PRESTART, "0")),
            ):
                ray.init(
                    address="local", num_cpus=_usable_cpus(), include_dashboard=False, _temp_dir=str(session),
                    object_store_memory=200 * 2**20, **options,
                )  # fmt: skip
            return
        except Exception as err:  # Ray raises a plain Exception where its own processes come too late
            traceback.print_exc()  # into the log of the driver
            ray.shutdown()
            _end_processes_of(session)
            if attempt == _ATTEMPTS:
                raise _did_not_start(err, time.monotonic() - began) from err


def _did_not_start(err: Exception, seconds: float) -> SpecError:
    first = reason_of(err).strip().splitlines()[0]
    text = f"Ray did not start on this machine, tried {_ATTEMPTS} times in {seconds:.0f} s: {first}"
    hint = (
        "is the machine busy? Try again later; `archsweep doctor` looks for other causes.\n"
        "--engine in-process trains without Ray, one trial after the other"
    )
    return SpecError(Problem(text, where="--engine ray", hint=hint))


def _end_processes_of(session: Path) -> None:
    """End the processes that this one has started for the session: Ray forgets those of a start that failed."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and os.fsencode(session) in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)


@contextmanager
def _nothing_elsewhere(scratch: Path) -> Iterator[None]:
    """Keeps what a cluster of our own writes in its folder: temporary files of its processes, which are killed at the
    end and clear up nothing, and the token with which they know one another, which Ray would write to ~/.ray."""
    if (
        not {_TOKEN, "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"} & os.environ.keys()
        and not Path("~/.ray/auth_token").expanduser().exists()
    ):
        os.environ[_TOKEN] = secrets.token_hex(32)  # kept: Ray reads it once per process
    tempfile.gettempdir()  # read once per process, too: ours remains what it was
    with environment_variable("TMPDIR", str(scratch)):
        yield


def _usable_cpus() -> int:
    """Cores this process may use: a container, `taskset` or a job of Slurm may have fewer than the machine.

    Slurm binds its jobs to their cores only where it was configured to; the number of them it always says.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    limit = local_limits().cpus
    given = os.environ.get("SLURM_CPUS_ON_NODE", "") if "SLURM_JOB_ID" in os.environ else ""
    found = [cores, *([int(limit)] if limit else []), *([int(given)] if given.isdecimal() else [])]
    return max(1, min(found))
