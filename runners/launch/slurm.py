"""Slurm batch script of one job (`archsweep launch slurm`).

On one node archsweep starts a private Ray with what Slurm gave the job, which may be a part of the node: it listens on
127.0.0.1, takes free ports, and ends alone. On several nodes `srun` starts `ray symmetric-run` on every node; Ray makes
the first node the head, waits for the others, runs archsweep there and ends. Slurm signals the batch shell alone, so
the script hands SIGTERM to archsweep and waits. Near the time limit it requeues the job: the same command continues the
ledger. A job that `scancel` ends stays ended.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from runners.launch.launched_sweep import LaunchedSweep, refusing
from runners.launch.sbatch import (
    WATCHED,
    SbatchOptions,
    container_words,
    directives,
    making_output_folders,
    option_problems,
    part_of_a_node,
    setup_lines,
    step_words,
    time_of,
)
from search_space import Problem

__all__ = ["SlurmOptions", "submit", "write"]

_OTHERS_SECONDS = 10


@dataclass(frozen=True)
class SlurmOptions(SbatchOptions):
    """Those of every Slurm script."""


def write(sweep: LaunchedSweep, options: SlurmOptions) -> str:
    """Batch script for `sbatch`.

    Raises:
        SpecError: the resources of a node or the time are unknown, or options are not valid in an `#SBATCH` line,
            contradict one another or what the script writes.
    """
    nodes = sweep.on_nodes(options.nodes, options.cpus_per_node, options.gpus_per_node)
    time, source, time_problems = time_of(sweep, options, sweep.minutes_on(nodes))
    lines, line_problems = directives(sweep, options, nodes, time=time)
    container, container_problems = container_words(sweep, options)
    with refusing() as problems:
        problems += time_problems
        problems += option_problems(options)
        if nodes.count > 1 and options.exclusive is False:
            text = (
                "parts of several nodes: `ray symmetric-run` needs nodes without another Ray, and ends every Ray there"
            )
            hint = (
                "one node (--nodes 1), --exclusive, or `archsweep launch slurm-array`, whose tasks take parts of nodes"
            )
            problems.append(Problem(text, where="--no-exclusive", hint=hint))
        problems += [*line_problems, *container_problems]
    about = sweep.describe(nodes) + (f";\n# --time is proposed from {source}" if source else "")
    head = _HEAD.format(
        about=about, directives=lines, setup=setup_lines(options), folder=shlex.quote(str(sweep.folder))
    )
    command = shlex.join(sweep.command(address=None))
    if nodes.count == 1:
        before = part_of_a_node(sweep, options, nodes, container)
        return head + before + WATCHED.format(start=step_words(container), command=command, never="its node failed")
    start = _SRUN.format(num_nodes=nodes.count, num_gpus=nodes.gpus, container=container)
    never = "Ray did not come up on the nodes"
    return head + _CLUSTER + WATCHED.format(start=start, command=f'{command} --address "$address"', never=never)


def submit(path: str, sweep: LaunchedSweep, options: SlurmOptions) -> list[list[str]]:
    making = making_output_folders(options)
    return [*([making] if making else []), ["sbatch", path]]


_HEAD = """\
#!/bin/bash
# Written by `archsweep launch slurm`: {about}.
# The sweep, the environment and the run directory must be on a file system that all nodes share (home, scratch; not
# /tmp). Submitting this file again, or a requeue, continues the sweep: finished trials are not run again.
# Edit: the #SBATCH lines, the lines below `environment`, and max_requeues.
{directives}
set -uo pipefail
max_requeues=20

# environment: make `archsweep` callable on every node, e.g. `module load ...` or `source .../bin/activate`
{setup}
cd -- {folder} || exit 1

"""
_CLUSTER = """\
# --exclusive: `ray symmetric-run` ends with `ray stop`, which ends every Ray of yours on these nodes.
# The head is the node of this script; a 127.x address from /etc/hosts would not be reachable from the others.
head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
head_ip=${ARCHSWEEP_HEAD_IP:-$(getent ahostsv4 "$head_node" | awk '{print $1}' | grep -v '^127[.]' | head -n 1)}
[ -n "$head_ip" ] || head_ip=$(hostname -I | awk '{print $1}')
address="$head_ip:$((20000 + SLURM_JOB_ID % 10000))"
# Ray's ports are open to the cluster's network: clients need this job's own token.
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n')
export RAY_AUTH_TOKEN
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=${RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT:-600}

"""
# --wait: `ray symmetric-run` on the other nodes does not notice that the head has ended; Slurm ends them after it.
_SRUN = f"""\
srun --wait={_OTHERS_SECONDS} --nodes={{num_nodes}} --ntasks={{num_nodes}} \\
    --cpus-per-task="$SLURM_CPUS_PER_TASK" {{container}}\\
    ray symmetric-run --address "$address" --min-nodes {{num_nodes}} \\
    --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus={{num_gpus}} -- \\
    """
