"""Connection to a Ray cluster: a private one that ends with the run, or an existing one."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from runners.engines.nodes import facts as node_facts
from runners.engines.nodes.private_cluster import private_cluster
from search_space import Problem, SpecError
from search_space.plugins import loaded_plugins
from search_space.plugins.plugin import package_folder

__all__ = ["cluster", "num_cluster_gpus"]


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """A connection to the Ray cluster at `address`; without one a private cluster on this machine, ended afterwards.

    A cluster that this process is connected to already is used as it is, and left running.

    Raises:
        SpecError: there is no cluster at `address`, or a private one does not start.
    """
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None or address == "local":
        with private_cluster(**quiet):
            yield
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
