"""Launch files: how a sweep gets on a cluster. Explicit table; `archsweep launch NAME` writes or submits one.

Contract: `write(sweep, options)` gives the whole text of a file, with comments that say what to edit, and refuses in
words where something is missing; `submit(path, sweep)` gives the commands that start it. Values of users are quoted for
what they stand in, or refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runners.launch import job, kuberay, ray_cluster, slurm
from runners.launch.launched_sweep import LaunchedSweep

__all__ = ["LAUNCHERS", "Launcher"]


@dataclass(frozen=True)
class Launcher:
    """`options` is the dataclass that `write` takes; `suffix` ends the file's name."""

    write: Callable[[LaunchedSweep, Any], str]
    submit: Callable[[str, LaunchedSweep], list[list[str]]]
    options: type
    suffix: str


LAUNCHERS: dict[str, Launcher] = {
    "job": Launcher(job.write, job.submit, job.JobOptions, ".sh"),
    "kuberay": Launcher(kuberay.write, kuberay.submit, kuberay.KuberayOptions, ".yaml"),
    "ray-cluster": Launcher(ray_cluster.write, ray_cluster.submit, ray_cluster.RayClusterOptions, ".yaml"),
    "slurm": Launcher(slurm.write, slurm.submit, slurm.SlurmOptions, ".sh"),
}
