"""Connection to a Ray cluster: a private one that ends with the run, or an existing one."""

from __future__ import annotations

import json
import logging
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from archsweep.own_packages import ROOT, ROOT_VARIABLE
from runners.engines.nodes import facts as node_facts
from runners.machine.cgroups import local_limits
from runners.machine.scratch import SHORT_DIRECTORY, scratch_folder
from search_space import Problem, SpecError
from search_space.plugins import loaded_plugins
from search_space.plugins.plugin import package_folder

__all__ = ["cluster", "num_cluster_gpus"]

_TOKEN = "RAY_AUTH_TOKEN"


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
    if address is None or address == "local":
        with scratch_folder("ray", directory=SHORT_DIRECTORY) as scratch:
            # Ray opens its folders to every user, again and again. So they are inside of ours, which stays closed.
            session = scratch / "r"
            session.mkdir(mode=0o700)
            try:
                with _nothing_elsewhere(scratch), _environment(ROOT_VARIABLE, ROOT):
                    ray.init(
                        address="local", num_cpus=_usable_cpus(), include_dashboard=False, _temp_dir=str(session),
                        object_store_memory=200 * 2**20, **quiet,
                    )  # fmt: skip
                yield
            finally:
                ray.shutdown()
        return
    try:
        ray.init(address=address, runtime_env=_own_code(), **quiet)
    except (ConnectionError, ValueError, RuntimeError) as err:
        hint = (
            "`ray status` on the head node shows its address; a cluster with token authentication also needs "
            "RAY_AUTH_MODE=token here; without --address archsweep starts a cluster of its own"
        )
        raise SpecError(Problem(f"no Ray cluster at {address!r}: {err}", where="--address", hint=hint)) from err
    try:
        yield
    finally:
        ray.shutdown()


def num_cluster_gpus(address: str | None) -> int:
    """GPUs of the nodes of a cluster, connected to for this alone unless this process is.

    Raises:
        SpecError: there is no cluster at `address`.
    """
    with cluster(address):
        return int(ray.cluster_resources().get("GPU", 0))


def _own_code() -> dict[str, Any]:
    """Ray copies archsweep itself and the packages of installed plug-ins to every node, ahead of one that may be
    installed there: an edit on the head counts everywhere. The versions of what it needs are checked (`checks.py`),
    because torch is too large to travel."""
    folders = [folder for folder in map(node_facts.folder_of, node_facts.ROOMS) if folder is not None]
    # With their data files; what is compiled has to be installed there. Plug-in files travel in each trial's job.
    packages = [package_folder(plugin) for plugin in loaded_plugins() if not plugin.has_compiled()]
    folders += [str(folder) for folder in packages if folder is not None]
    # Within `ray job submit`, whose `excludes` are those of the job's working directory, ours take their place.
    os.environ["RAY_OVERRIDE_JOB_RUNTIME_ENV"] = "1"
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    others = (job.get("runtime_env") or {}).get("py_modules", [])
    return {"py_modules": [*folders, *others], "excludes": ["__pycache__"]}


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
    with _environment("TMPDIR", str(scratch)):
        yield


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """A variable for the processes that are started meanwhile."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _usable_cpus() -> int:
    """Cores this process may use: a container, `taskset` or a job of Slurm may have fewer than the machine.

    Slurm binds its jobs to their cores only where it was configured to; the number of them it always says.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    limit = local_limits().cpus
    given = os.environ.get("SLURM_CPUS_ON_NODE", "") if "SLURM_JOB_ID" in os.environ else ""
    found = [cores, *([int(limit)] if limit else []), *([int(given)] if given.isdecimal() else [])]
    return max(1, min(found))
