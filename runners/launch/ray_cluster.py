"""Cluster file for `ray up`, for machines of your own or AWS (`archsweep launch ray-cluster`).

`ray up` creates the cluster and `ray exec` starts the sweep on its head. The run directory must be a path that all
machines share; without one the sweep still trains, but logs and checkpoints stay on the machines of their trials.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runners.launch.launched_sweep import LaunchedSweep, refusing
from search_space import Problem

__all__ = ["PROVIDERS", "RayClusterOptions", "submit", "write"]

PROVIDERS = ("aws", "local")
_REMOTE_SWEEP, _REMOTE_PLUGINS = "~/archsweep-sweep.yaml", "~/archsweep-plugins"
# Ray's own start commands of each provider (ray/autoscaler/*/defaults.yaml), but the dashboard stays on 127.0.0.1.
# `ray up` of Ray 2.60 starts the newer autoscaler, which never starts the workers of the provider `local`.
_LIMIT = {"aws": "ulimit -n 65536; ", "local": ""}
_HEAD_START = {
    "aws": "ray start --head --port=6379 --object-manager-port=8076 --autoscaling-config=~/ray_bootstrap_config.yaml",
    "local": "RAY_enable_autoscaler_v2=0 ray start --head --port=6379 --autoscaling-config=~/ray_bootstrap_config.yaml",
}
_WORKER_START = {
    "aws": "ray start --address=$RAY_HEAD_IP:6379 --object-manager-port=8076",
    "local": "ray start --address=$RAY_HEAD_IP:6379",
}


@dataclass(frozen=True)
class RayClusterOptions:
    """Options: `local` needs addresses of machines, `aws` region and instance type.

    `setup`: shell lines before every command that needs archsweep or Ray, in the same shell: Ray starts a shell for
    each of its commands, so that a `source env/bin/activate` in `setup_commands` would have no effect on `ray start`.

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
    assert options.provider is not None
    limit, head_start, worker_start = (each[options.provider] for each in (_LIMIT, _HEAD_START, _WORKER_START))
    auth = {"ssh_user": options.user}
    if options.provider == "local":
        machines: dict[str, Any] = {
            "provider": {"type": "local", "head_ip": options.head, "worker_ips": list(options.workers)},
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
        "file_mounts": {
            _REMOTE_SWEEP: str(sweep.path),
            **{f"{_REMOTE_PLUGINS}/{Path(each.origin).name}": each.origin for each in sweep.plugins},
        },
        "setup_commands": [],
        "head_start_ray_commands": [_after_setup("ray stop", options), limit + _after_setup(head_start, options)],
        "worker_start_ray_commands": [_after_setup("ray stop", options), limit + _after_setup(worker_start, options)],
    }
    head = _HEAD.format(about=sweep.describe(), command=" ".join(_start(sweep, "FILE", options)))
    return head + yaml.safe_dump(cluster, sort_keys=False, width=1_000_000)


def submit(path: str, sweep: LaunchedSweep, options: RayClusterOptions) -> list[list[str]]:
    return [["ray", "up", "--yes", path], ["ray", "exec", path, _entrypoint(sweep, options)]]


def _start(sweep: LaunchedSweep, path: str, options: RayClusterOptions) -> list[str]:
    return [shlex.quote(word) for word in submit(path, sweep, options)[1]]


def _entrypoint(sweep: LaunchedSweep, options: RayClusterOptions) -> str:
    words = sweep.command(sweep=_REMOTE_SWEEP, plugins=_REMOTE_PLUGINS)
    # `~` is expanded by the remote shell: not quoted. The names of plug-ins are letters, digits and `_`.
    ours = {_REMOTE_SWEEP, *(f"{_REMOTE_PLUGINS}/{Path(each.origin).name}" for each in sweep.plugins)}
    return _after_setup(" ".join(word if word in ours else shlex.quote(word) for word in words), options)


def _after_setup(command: str, options: RayClusterOptions) -> str:
    """The command after the user's lines in one shell; it is not started where one of them fails."""
    return " && ".join([*options.setup, command])


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
        for line in options.setup:
            if "\n" in line or "#" in line:
                hint = "one command without a comment; give --setup once for each"
                problems.append(Problem(f"not a line of shell: {line!r}", where="--setup", hint=hint))
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
# After editing the sweep or a plug-in, copy it to the head with another `ray up`.
# Edit: instance types and their number, ssh user and key, and in setup_commands, which run once on every machine, the
# mount of a shared directory for the run directory (--out): with one that only the head has there is a warning, and
# logs of other nodes are lost. What --setup says is in the start commands: Ray gives each command a shell of its own.
# Machines of your own: the head starts the others over ssh with auth.ssh_private_key or, without it, a key that it has.
# The head runs trials, too. Every Ray of that user on these machines is stopped first.
"""
