"""Ray Jobs submission of a sweep to a running Ray cluster (`archsweep launch job`).

A copy of the sweep file, and of the plug-ins, is uploaded as the job's working directory; that directory is deleted
afterwards, so the run directory must be an absolute path that the cluster's nodes share. Ray does not retry such a job;
submitting it again continues the sweep. `ray job submit` itself exits with 1 for every failed job and with 0 for a
stopped one, so the script queries the exit code of archsweep.
"""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass

from runners.launch.launched_sweep import LaunchedSweep, refusing
from search_space import Problem

__all__ = ["JobOptions", "submit", "write"]

_SWEEP, _PLUGINS = "sweep.yaml", "plugins"
_END_SECONDS = 15  # for the driver to record the saved trials after their grace period


@dataclass(frozen=True)
class JobOptions:
    """`address`: address of the cluster's dashboard, `http://HEAD:8265`."""

    address: str | None = None


def write(sweep: LaunchedSweep, options: JobOptions) -> str:
    """Shell script that submits the sweep and waits for its end.

    Raises:
        SpecError: no address, not a dashboard's address, several run directories, or a relative folder.
    """
    with refusing() as problems:
        if options.address is None:
            hint = "the dashboard of the cluster, e.g. --address http://HEAD:8265"
            problems.append(Problem("no cluster address", where="--address", hint=hint))
        elif not options.address.startswith(("http://", "https://")):
            hint = "e.g. --address http://HEAD:8265; it is not the address of `archsweep run`"
            problems.append(
                Problem(f"not an address of a dashboard: {options.address!r}", where="--address", hint=hint)
            )
        problems += sweep.relative.values()
        if sweep.run_dir is None:
            hint = "their run directories would be deleted with the job: launch one at a time with --study and --out"
            problems.append(Problem("several studies", where="--study", hint=hint))
    # By default Ray waits 3 s between SIGTERM and SIGKILL: too short for trials to save checkpoints.
    environment = {"RAY_JOB_STOP_WAIT_TIME_S": str(math.ceil(sweep.grace_seconds) + _END_SECONDS)}
    return _SCRIPT.format(
        about=sweep.describe(),
        address=shlex.quote(options.address or ""),
        sweep=shlex.quote(str(sweep.path)),
        runtime_env=shlex.quote(json.dumps({"env_vars": environment})),
        # `exec`: Ray waits for all processes of a job, and where dead children of an ended shell are not reaped
        # (containers without an init process) it would wait for the dead driver until the time above is over.
        command=shlex.join(["exec", *sweep.command(sweep=_SWEEP, plugins=_PLUGINS)]),
        plugins=_copied(sweep),
    )


def _copied(sweep: LaunchedSweep) -> str:
    """Lines that put the plug-ins into the working directory of the job."""
    if not sweep.plugins:
        return ""
    files = shlex.join(plugin.origin for plugin in sweep.plugins)
    return f'mkdir "$folder/{_PLUGINS}" && cp -RL -- {files} "$folder/{_PLUGINS}/" || exit\n'


def submit(path: str, sweep: LaunchedSweep, options: JobOptions) -> list[list[str]]:
    return [["bash", path]]


_SCRIPT = """\
#!/bin/bash
# Written by `archsweep launch job`: {about}.
# Needs `pip install 'ray[default]'` here and on the cluster, and archsweep on its head; a cluster with token
# authentication also needs RAY_AUTH_MODE=token and the token here. --out must be a path that all nodes share.
# Submitting again continues the sweep. Exits with the code of archsweep, 143 after `ray job stop`.
# Edit: the address, --out; more variables for the driver go beside RAY_JOB_STOP_WAIT_TIME_S.
address={address}
job=archsweep-$(date +%s)-$$
folder=$(mktemp -d) || exit
trap 'rm -rf -- "$folder"' EXIT
cp -- {sweep} "$folder/sweep.yaml" || exit
{plugins}code=0
ray job submit --address "$address" --submission-id "$job" --working-dir "$folder" \\
    --runtime-env-json {runtime_env} -- \\
    {command} || code=$?
status=$(ray job status --address "$address" "$job" 2>&1)
case $status in
    *"Job '$job' succeeded"*) exit 0 ;;
    *"Job '$job' was stopped"*) exit 143 ;;
    *"Job '$job' failed"*"failed with exit code "[1-9]*)
        code=${{status#*failed with exit code }}
        exit "${{code%%[!0-9]*}}" ;;
esac
echo "archsweep: the exit code of the job is unknown; see: ray job status --address $address $job" >&2
exit "$((code ? code : 1))"
"""
