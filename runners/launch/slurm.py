"""Slurm batch script that forms a Ray cluster of the job's nodes (`archsweep launch slurm`).

`srun` starts `ray symmetric-run` on every node; Ray makes the first node the head, waits for the others, runs archsweep
there and ends. Slurm signals the batch shell alone, so the script forwards SIGTERM to archsweep, waits, and requeues
the job: the same command continues the ledger.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from runners.launch.launched_sweep import LaunchedSweep, refusing
from search_space import Problem

__all__ = ["SlurmOptions", "submit", "write"]

_TIME = re.compile(r"\d+(-\d+(:\d+){0,2})?|\d+(:\d+){1,2}")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,:+=@/-]*")
_GRACE_SECONDS = 120
_OTHERS_SECONDS = 10


@dataclass(frozen=True)
class SlurmOptions:
    """Options of `sbatch`; `time` in Slurm's format, `setup`: shell lines that make `archsweep` and `ray` callable."""

    nodes: int | None = None
    cpus_per_node: int | None = None
    gpus_per_node: int | None = None
    time: str | None = None
    partition: str | None = None
    account: str | None = None
    setup: tuple[str, ...] = ()


def write(sweep: LaunchedSweep, options: SlurmOptions) -> str:
    """Batch script for `sbatch`.

    Raises:
        SpecError: the resources of a node or the time are unknown, or a value is not valid in an `#SBATCH` line.
    """
    nodes = sweep.on_nodes(options.nodes, options.cpus_per_node, options.gpus_per_node)
    proposed = sweep.minutes_on(nodes)
    with refusing() as problems:
        if options.time is None and proposed is None:
            hint = "run `archsweep plan --probe` or pass --time, e.g. --time 8:00:00; after a first trial here\n"
            hint += "(`archsweep run SWEEP --limit 1`) or with `resources.time_limit` in the sweep it is proposed"
            problems.append(Problem("no trial duration known", where="--time", hint=hint))
        if options.time is not None and not _TIME.fullmatch(options.time):
            text = f"not a time in Slurm's format: {options.time!r}"
            problems.append(Problem(text, where="--time", hint="minutes, H:M:S, D-H, D-H:M or D-H:M:S"))
        for name in ("partition", "account"):
            value = getattr(options, name)
            if value is not None and not _WORD.fullmatch(value):
                text = f"not valid in an #SBATCH line: {value!r}"
                problems.append(Problem(text, where=f"--{name}", hint="letters, digits and _ . , : + = @ / -"))
    minutes, source = proposed or (0, "")
    time = options.time or f"{minutes // 60}:{minutes % 60:02d}:00"
    directives = [f"--job-name={sweep.name}", f"--nodes={nodes.count}", "--ntasks-per-node=1"]
    directives += [f"--cpus-per-task={nodes.cpus}"] + ([f"--gpus-per-node={nodes.gpus}"] if nodes.gpus else [])
    directives += [f"--time={time}"]
    directives += [f"--partition={options.partition}"] if options.partition else []
    directives += [f"--account={options.account}"] if options.account else []
    directives += ["--exclusive", "--requeue", "--open-mode=append", f"--signal=B:TERM@{_GRACE_SECONDS}"]
    return _SCRIPT.format(
        about=sweep.describe(nodes) + ("" if options.time else f";\n# --time is proposed from {source}"),
        directives="\n".join(f"#SBATCH {each}" for each in directives),
        setup="\n".join(options.setup) or "# nothing: archsweep and ray are on the PATH of a batch job",
        folder=shlex.quote(str(sweep.folder)),
        command=shlex.join(sweep.command(address=None)),
        num_gpus=nodes.gpus,
        num_nodes=nodes.count,
    )


def submit(path: str, sweep: LaunchedSweep) -> list[list[str]]:
    return [["sbatch", path]]


_SCRIPT = """\
#!/bin/bash
# Written by `archsweep launch slurm`: {about}.
# The sweep, the environment and the run directory must be on a file system that all nodes share (home, scratch; not
# /tmp). Submitting this file again, or a requeue, continues the sweep: finished trials are not run again.
# Edit: the #SBATCH lines, the lines below `environment`, and max_requeues.
{directives}
# --exclusive: `ray symmetric-run` ends with `ray stop`, which ends every Ray of yours on these nodes.
set -uo pipefail
max_requeues=20

# environment: make `archsweep` and `ray` callable on every node, e.g. `module load ...` or `source .../bin/activate`
{setup}
cd -- {folder} || exit 1

# The head is the node of this script; a 127.x address from /etc/hosts would not be reachable from the others.
head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
head_ip=${{ARCHSWEEP_HEAD_IP:-$(getent ahostsv4 "$head_node" | awk '{{print $1}}' | grep -v '^127[.]' | head -n 1)}}
[ -n "$head_ip" ] || head_ip=$(hostname -I | awk '{{print $1}}')
address="$head_ip:$((20000 + SLURM_JOB_ID % 10000))"
# A folder that no other user can have prepared, or can read.
folder=$(mktemp -d) || exit 1
pid_file="$folder/archsweep.pid"
# Ray's ports are open to the cluster's network: clients need this job's own token.
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n')
export RAY_AUTH_TOKEN
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=${{RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT:-600}}

# Slurm signals this shell alone, {{grace}} before the time is up or when the job is preempted.
stopping=
stop() {{
    stopping=yes
    if [ -s "$pid_file" ]; then kill -TERM "$(cat -- "$pid_file")"; else kill -TERM "$step"; fi
}}

# --wait: `ray symmetric-run` on the other nodes does not notice that the head has ended; Slurm ends them after it.
srun --wait={{others}} --nodes={num_nodes} --ntasks={num_nodes} --cpus-per-task="$SLURM_CPUS_PER_TASK" \\
    ray symmetric-run --address "$address" --min-nodes {num_nodes} \\
    --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus={num_gpus} -- \\
    bash -c '(echo "$BASHPID" > "$0"; exec "$@"); echo "$?" > "$0.code"; exit "$(cat "$0.code")"' "$pid_file" \\
    {command} --address "$address" &
step=$!
trap stop TERM
wait "$step"
code=$?
if [ -n "$stopping" ]; then  # the signal interrupted the first wait
    wait "$step"
    code=$?
fi

if [ ! -e "$pid_file" ] && [ -z "$stopping" ]; then
    rm -rf -- "$folder"
    echo "archsweep was never started: Ray did not come up on the nodes, see above" >&2
    exit 1
fi
# Nodes that Slurm has ended count as killed: the result of the sweep is the exit code of archsweep.
[ -s "$pid_file.code" ] && code=$(cat -- "$pid_file.code")
rm -rf -- "$folder"
if [ -n "$stopping" ] && [ "$code" -ne 0 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt "$max_requeues" ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
""".replace("{{grace}}", f"{_GRACE_SECONDS} s").replace("{{others}}", str(_OTHERS_SECONDS))
