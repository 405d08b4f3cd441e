"""Launch files of a sweep for a cluster, written or submitted by `archsweep launch NAME`.

Contract of a launcher: `write(sweep, options)` returns the whole text of a file, with comments about what to edit, and
raises SpecError if something is missing; `submit(path, sweep, options)` returns the commands that start it. User values
are quoted for their context (shell, YAML, #SBATCH) or refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runners.launch import job, kuberay, ray_cluster, slurm, slurm_array
from runners.launch.launched_sweep import LaunchedSweep

__all__ = ["LAUNCHERS", "Launcher"]


@dataclass(frozen=True)
class Launcher:
    """Entry of the registry: `options` is the dataclass that `write` takes; `suffix` is the file's extension."""

    write: Callable[[LaunchedSweep, Any], str]
    submit: Callable[[str, LaunchedSweep, Any], list[list[str]]]
    options: type
    suffix: str


LAUNCHERS: dict[str, Launcher] = {
    "job": Launcher(job.write, job.submit, job.JobOptions, ".sh"),
    "kuberay": Launcher(kuberay.write, kuberay.submit, kuberay.KuberayOptions, ".yaml"),
    "ray-cluster": Launcher(ray_cluster.write, ray_cluster.submit, ray_cluster.RayClusterOptions, ".yaml"),
    "slurm": Launcher(slurm.write, slurm.submit, slurm.SlurmOptions, ".sh"),
    "slurm-array": Launcher(slurm_array.write, slurm_array.submit, slurm_array.SlurmArrayOptions, ".sh"),
}
