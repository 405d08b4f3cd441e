"""Slurm job array whose tasks train shares of a sweep, and the job that collects them (`archsweep launch slurm-array`).

Tasks know nothing of one another: each gets a node or a part of one when there is room, and trains its shard
(`archsweep run --shard`) in a run directory of its own. When all have ended, however they did, a last job makes one run
of them (`--collect`). There is one file for all: `bash FILE submit` submits it twice, the second time with the argument
`collect`.
"""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace

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

__all__ = ["SlurmArrayOptions", "submit", "write"]

_MOST_TASKS = 100  # by default; Slurm's own limit is MaxArraySize, 1001 unless the cluster has another


@dataclass(frozen=True)
class SlurmArrayOptions(SbatchOptions):
    """Further options.

    Attributes:
        tasks: number of shards; default: one a trial, at most 100.
        at_once: tasks that run at the same time; default: as many as `resources.max_concurrent` allows.
        refused: reasons against shards, found by the caller.
    """

    tasks: int | None = None
    at_once: int | None = None
    refused: tuple[Problem, ...] = ()


def write(sweep: LaunchedSweep, options: SlurmArrayOptions) -> str:
    """Batch script for `sbatch --array`.

    Raises:
        SpecError: the sweep cannot be divided, the resources of a task or the time are unknown, or options are not
            valid in an `#SBATCH` line, contradict one another or what the script writes.
    """
    nodes = replace(sweep.on_nodes(1, options.cpus_per_node, options.gpus_per_node), count=1)
    tasks = options.tasks or min(math.ceil(sweep.num_trials / nodes.slots), _MOST_TASKS)
    at_once = options.at_once or (math.ceil(sweep.max_concurrent / nodes.slots) if sweep.max_concurrent else None)
    share = replace(sweep, num_trials=math.ceil(sweep.num_trials / tasks))
    time, source, time_problems = time_of(sweep, options, share.minutes_on(nodes))
    limit = f"%{at_once}" if at_once and at_once < tasks else ""
    lines, line_problems = directives(sweep, options, nodes, time=time, array=(f"0-{tasks - 1}{limit}",))
    container, container_problems = container_words(sweep, options)
    with refusing() as problems:
        problems += options.refused
        if sweep.run_dir is None:
            hint = "launch one at a time with --study"
            problems.append(Problem("several studies", where="--study", hint=hint))
        problems += [*time_problems, *option_problems(options), *line_problems, *container_problems]
    assert sweep.run_dir is not None
    about = f"{sweep.describe(nodes)};\n# {tasks} tasks of at most {share.num_trials} trials"
    about += f"; --time is proposed from {source}" if source else ""
    return _SCRIPT.format(
        about=about,
        directives=lines,
        setup=setup_lines(options),
        making=f"    {shlex.join(making)} || exit\n" if (making := making_output_folders(options)) else "",
        folder=shlex.quote(str(sweep.folder)),
        run_dir=shlex.quote(str(sweep.run_dir)),
        tasks=tasks,
        collector=shlex.quote(f"{sweep.name}-collect"),
        run=shlex.join(replace(sweep, run_dir=None).command(address=None)),
        # With room for one trial at a time Ray has nothing to distribute.
        engine=" --engine in-process" if nodes.slots == 1 else "",
        before=part_of_a_node(sweep, options, nodes, container),
    ) + WATCHED.format(start=step_words(container), command='"${words[@]}"', never="its node failed")


def submit(path: str, sweep: LaunchedSweep, options: SlurmArrayOptions) -> list[list[str]]:
    return [["bash", path, "submit"]]


_SCRIPT = """\
#!/bin/bash
# Written by `archsweep launch slurm-array`: {about}.
# Submit it with `bash FILE submit`: the tasks of the array, and a job that collects their records once all have ended.
# Submitting again continues every task, and collects again. When nothing but the collecting is left: sbatch --array=0
# FILE collect. The sweep, the environment and the run directory must be on a file system that all nodes share.
# Edit: the #SBATCH lines, the lines below `environment`, and max_requeues.
{directives}
set -uo pipefail
max_requeues=20
num_shards={tasks}  # as many as the array has tasks

if [ "${{1-}}" = submit ]; then
{making}    array=$(sbatch --parsable "$0") || exit
    echo "submitted: array ${{array%%;*}}"
    exec sbatch --array=0 --job-name={collector} --dependency="afterany:${{array%%;*}}" "$0" collect
fi

# environment: make `archsweep` callable on every node, e.g. `module load ...` or `source .../bin/activate`
{setup}
cd -- {folder} || exit 1

run_dir={run_dir}
shards="$run_dir-shards"
mkdir -p -- "$shards" || exit 1
words=({run})
if [ "${{1-}}" = collect ]; then
    words+=(--out "$run_dir" --collect "$shards" --limit 0)
else
    number=$((SLURM_ARRAY_TASK_ID + 1))
    # --collect: of an edited sweep, what another task has trained of this share.
    words+=(--shard "$number/$num_shards" --out "$shards/$number-of-$num_shards" --collect "$shards"{engine})
fi
{before}"""
