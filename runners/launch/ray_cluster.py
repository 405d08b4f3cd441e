"""Cluster file for `ray up`, for machines of your own or AWS (`archsweep launch ray-cluster`).

`ray up` creates the cluster and `ray exec` starts the sweep on its head. The run directory must be a path that all
machines share; without one the sweep still trains, but logs and checkpoints stay on the machines of their trials.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

import yaml

from runners.launch.launched_sweep import LaunchedSweep, refusing
from search_space import Problem

__all__ = ["PROVIDERS", "RayClusterOptions", "submit", "write"]

PROVIDERS = ("aws", "local")
_REMOTE_SWEEP = "~/archsweep-sweep.yaml"
# `ray up` of Ray 2.60 starts the newer autoscaler, which never starts the workers of the provider `local`.
_START_LOCAL_HEAD = (
    "ray stop",
    "RAY_enable_autoscaler_v2=0 ray start --head --port=6379 --autoscaling-config=~/ray_bootstrap_config.yaml",
)


@dataclass(frozen=True)
class RayClusterOptions:
    """Options: `local` needs addresses of machines, `aws` region and instance type; `setup` runs on each machine.

    `ssh_key`: private key for machines of one's own. `ray up` copies it to the head, which starts the workers with it.
    """

    provider: str | None = None
    head: str | None = None
    workers: tuple[str, ...] = ()
    user: str = "ubuntu"
    ssh_key: str | None = None
    region: str | None = None
    instance_type: str | None = None
    nodes: int | None = None
    image: str | None = None
    setup: tuple[str, ...] = ()


def write(sweep: LaunchedSweep, options: RayClusterOptions) -> str:
    """Cluster file, with the commands that start the sweep in its header.

    Raises:
        SpecError: the provider's machines, the installation of archsweep, or an absolute run directory is missing.
    """
    _refuse(sweep, options)
    auth = {"ssh_user": options.user}
    if options.provider == "local":
        machines: dict[str, Any] = {
            "provider": {"type": "local", "head_ip": options.head, "worker_ips": list(options.workers)},
            "head_start_ray_commands": list(_START_LOCAL_HEAD),
        }
        auth |= {"ssh_private_key": options.ssh_key} if options.ssh_key else {}
    else:
        count = options.nodes or 1
        node = {"node_config": {"InstanceType": options.instance_type}, "resources": {}}
        machines = {
            "max_workers": count,
            "provider": {"type": "aws", "region": options.region},
            "available_node_types": {
                "head": {"node_config": {"InstanceType": "m5.large"}, "resources": {"CPU": 0}, "max_workers": 0},
                "trials": {**node, "min_workers": count, "max_workers": count},
            },
            "head_node_type": "head",
        }
    docker = {"docker": {"image": options.image, "container_name": "archsweep"}} if options.image else {}
    cluster = {
        "cluster_name": sweep.name,
        **machines,
        "auth": auth,
        **docker,
        "file_mounts": {_REMOTE_SWEEP: str(sweep.path)},
        "setup_commands": list(options.setup),
    }
    head = _HEAD.format(about=sweep.describe(), command=" ".join(_start(sweep, "FILE")))
    return head + yaml.safe_dump(cluster, sort_keys=False, width=120)


def submit(path: str, sweep: LaunchedSweep) -> list[list[str]]:
    return [["ray", "up", "--yes", path], ["ray", "exec", path, _entrypoint(sweep)]]


def _start(sweep: LaunchedSweep, path: str) -> list[str]:
    return [shlex.quote(word) for word in submit(path, sweep)[1]]


def _entrypoint(sweep: LaunchedSweep) -> str:
    # `~` is expanded by the remote shell: not quoted.
    words = sweep.command(sweep=_REMOTE_SWEEP)
    return " ".join(word if word == _REMOTE_SWEEP else shlex.quote(word) for word in words)


def _refuse(sweep: LaunchedSweep, options: RayClusterOptions) -> None:
    with refusing() as problems:
        if options.provider not in PROVIDERS:
            came = "no provider" if options.provider is None else f"unknown provider {options.provider!r}"
            hint = f"known: {', '.join(PROVIDERS)}; for others start from one of these files and Ray's examples"
            problems.append(Problem(came, where="--provider", hint=hint))
        if options.provider == "local":
            if not options.head:
                problems.append(Problem("no machine for the head", where="--head", hint="e.g. --head 10.0.0.1"))
            if not options.workers:
                hint = "e.g. --worker 10.0.0.2 --worker 10.0.0.3"
                problems.append(Problem("no machine for the trials", where="--worker", hint=hint))
        if options.provider == "aws":
            if options.ssh_key:
                hint = "leave it out: Ray makes a key pair, or edit `auth` and `KeyName` in the file"
                problems.append(Problem("only for machines of your own", where="--ssh-key", hint=hint))
            if not options.region:
                problems.append(Problem("no region", where="--region", hint="e.g. --region eu-central-1"))
            if not options.instance_type:
                hint = "the machine of the trials, e.g. --instance-type g5.12xlarge"
                problems.append(Problem("no instance type", where="--instance-type", hint=hint))
        if not options.image and not options.setup:
            hint = "--image with archsweep in it, or --setup commands that install it, e.g. --setup 'pip install ...'"
            problems.append(Problem("no installation of archsweep on the machines", where="--setup", hint=hint))
        problems += sweep.relative.values()
        if sweep.run_dir is None:
            hint = "their run directories would be on the head alone: launch one at a time with --study and --out"
            problems.append(Problem("several studies", where="--study", hint=hint))


_HEAD = """\
# Written by `archsweep launch ray-cluster`: {about}.
#   ray up FILE
#   {command}
#   ray down FILE
# `ray up` and `ray exec` need `pip install 'ray[default]'` here. The same `ray exec` again continues the sweep; it
# exits with 1 if archsweep does not exit with 0. Keep the connection, or use `ray exec --tmux`: the sweep ends with it.
# After editing the sweep, copy it to the head with another `ray up`.
# Edit: instance types and their number, ssh user and key, and in setup_commands the mount of a shared directory for
# the run directory (--out): with one that only the head has there is a warning, and logs of other nodes are lost.
# Machines of your own: the head starts the others over ssh with auth.ssh_private_key or, without it, a key that it has.
# The head runs trials, too. Every Ray of that user on these machines is stopped first.
"""
