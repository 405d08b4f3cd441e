"""What the Slurm launchers share: options of `sbatch`, the `#SBATCH` lines of a script, and the end of a job.

Names are Slurm's own. A value is one word of its line: sbatch ends a line at `#`, splits it at spaces, and reads quotes
and backslashes, so that other characters are quoted for it. Checked with `sbatch` of Slurm 22.05 (docs/cluster.md).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from runners.launch.launched_sweep import LaunchedSweep, Nodes
from search_space import Problem

__all__ = [
    "WATCHED",
    "SbatchOptions",
    "container_words",
    "directives",
    "making_output_folders",
    "option_problems",
    "output_folders",
    "part_of_a_node",
    "setup_lines",
    "step_words",
    "time_of",
]

_GRACE_SECONDS = 120
_TIME = re.compile(r"\d+(-\d+(:\d+){0,2})?|\d+(:\d+){1,2}")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,:+=@/-]*")
_GPU_TYPE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")  # 'a100,b:2' would be one of the one and two of the other
_FEATURES = re.compile(r"[A-Za-z0-9_\[(!][A-Za-z0-9_.,:+=@/&|*!()\[\]-]*")
_PATH = re.compile(r"[^\x00-\x1f\x7f]+")
_MEMORY = re.compile(r"\d+[KMGT]?", re.IGNORECASE)
_BARE = re.compile(r"[A-Za-z0-9_.,:+=@%/&|*!()\[\]-]+")
_MAIL = (
    "ALL",
    "ARRAY_TASKS",
    "BEGIN",
    "END",
    "FAIL",
    "INVALID_DEPEND",
    "NONE",
    "REQUEUE",
    "STAGE_OUT",
    "TIME_LIMIT",
    "TIME_LIMIT_50",
    "TIME_LIMIT_80",
    "TIME_LIMIT_90",
)
_SHORT = {
    **{"A": "account", "a": "array", "C": "constraint", "c": "cpus-per-task", "D": "chdir", "d": "dependency"},
    **{"e": "error", "G": "gpus", "J": "job-name", "N": "nodes", "n": "ntasks", "o": "output", "p": "partition"},
    **{"q": "qos", "s": "oversubscribe", "t": "time", "B": "extra-node-info", "w": "nodelist", "x": "exclude"},
}
# Options of one family decide about the same thing: one of them contradicts another.
_FAMILIES = (
    {"mem", "mem-per-cpu", "mem-per-gpu"},
    {"nodes", "ntasks", "ntasks-per-node", "ntasks-per-core", "ntasks-per-socket", "ntasks-per-gpu"},
    {"cpus-per-task", "cpus-per-gpu"},
    {"gpus-per-node", "gpus", "gpus-per-task", "gpus-per-socket"},
    {"exclusive", "oversubscribe", "share"},
    {"requeue", "no-requeue"},
)
_SCRIPT_ONLY = {"wrap": "the script is what runs", "help": "prints and ends", "version": "prints and ends"}


@dataclass(frozen=True)
class SbatchOptions:
    """Options of `sbatch`, under Slurm's names.

    Attributes:
        gpu_type: type of the GPUs as the cluster names it (`sinfo -o %G`).
        exclusive: whole nodes; None: where it has to be.
        sbatch: further lines, `--comment=x`.
        setup: shell lines that make `archsweep` (and `ray`, on several nodes) callable.
    """

    nodes: int | None = None
    cpus_per_node: int | None = None
    gpus_per_node: int | None = None
    gpu_type: str | None = None
    time: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    mem: str | None = None
    mem_per_cpu: str | None = None
    mem_per_gpu: str | None = None
    exclusive: bool | None = None
    output: str | None = None
    error: str | None = None
    mail_type: str | None = None
    mail_user: str | None = None
    container_image: str | None = None
    container_mounts: str | None = None
    sbatch: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()


def option_problems(options: SbatchOptions) -> Iterator[Problem]:
    """What is wrong with the options by themselves, and with their combination."""
    if options.time is not None and not _TIME.fullmatch(options.time):
        text = f"not a time in Slurm's format: {options.time!r}"
        yield Problem(text, where="--time", hint="minutes, H:M:S, D-H, D-H:M or D-H:M:S")
    for name in ("partition", "account", "qos", "reservation", "mail_user"):
        value = getattr(options, name)
        if value is not None and not _WORD.fullmatch(value):
            yield _illegal(name, value, "letters, digits and _ . , : + = @ / -")
    if options.gpu_type is not None and not _GPU_TYPE.fullmatch(options.gpu_type):
        yield _illegal("gpu_type", options.gpu_type, "one type, such as a100, without its number")
    if options.constraint is not None and not _FEATURES.fullmatch(options.constraint):
        yield _illegal("constraint", options.constraint, "names of features with & | * ! ( ) [ ], e.g. 'a100|h100'")
    for name in ("output", "error", "container_image", "container_mounts"):
        value = getattr(options, name)
        if value is not None and not _PATH.fullmatch(value):
            yield _illegal(name, value, "no line breaks or control characters")
    yield from _memory_problems(options)
    yield from _mail_problems(options)
    if options.gpu_type is not None and not options.gpus_per_node:
        yield Problem("the number of GPUs is not given", where="--gpu-type", hint="add --gpus-per-node, e.g. 2")
    if options.container_mounts is not None and options.container_image is None:
        yield Problem("no container to mount in", where="--container-mounts", hint="add --container-image")


def _illegal(name: str, value: str, hint: str) -> Problem:
    return Problem(f"not valid in an #SBATCH line: {value!r}", where=f"--{name.replace('_', '-')}", hint=hint)


def _memory_problems(options: SbatchOptions) -> Iterator[Problem]:
    given = {name: value for name in ("mem", "mem_per_cpu", "mem_per_gpu") if (value := getattr(options, name))}
    for name, value in given.items():
        if not _MEMORY.fullmatch(value):
            yield Problem(
                f"not an amount of memory in Slurm's format: {value!r}",
                where=f"--{name.replace('_', '-')}",
                hint="a whole number of megabytes, or with K, M, G or T, e.g. 64G",
            )
    if len(given) > 1:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        yield Problem(f"{names} exclude each other", where=f"--{[*given][-1].replace('_', '-')}", hint="keep one")
    if options.mem_per_gpu is not None and not options.gpus_per_node:
        yield Problem("a job without GPUs", where="--mem-per-gpu", hint="--mem, or add --gpus-per-node")


def _mail_problems(options: SbatchOptions) -> Iterator[Problem]:
    if options.mail_type is None:
        if options.mail_user is not None:
            yield Problem("no mail is sent without --mail-type", where="--mail-user", hint="e.g. --mail-type END,FAIL")
        return
    unknown = [each for each in options.mail_type.split(",") if each.upper() not in _MAIL]
    if unknown:
        yield Problem(
            f"unknown to Slurm: {', '.join(map(repr, unknown))}",
            where="--mail-type",
            hint=f"known: {', '.join(_MAIL)}; several with commas",
        )


def time_of(
    sweep: LaunchedSweep, options: SbatchOptions, proposed: tuple[int, str] | None
) -> tuple[str, str, list[Problem]]:
    """Time limit of the job, the source of a proposed one, and what is wrong where none is known."""
    if options.time is not None:
        return options.time, "", []
    if proposed is None:
        hint = "run `archsweep plan --probe` or pass --time, e.g. --time 8:00:00; after a first trial here\n"
        hint += "(`archsweep run SWEEP --limit 1`) or with `resources.time_limit` in the sweep it is proposed"
        return "", "", [Problem("no trial duration known", where="--time", hint=hint)]
    minutes, source = proposed
    return f"{minutes // 60}:{minutes % 60:02d}:00", source, []


def directives(
    sweep: LaunchedSweep, options: SbatchOptions, nodes: Nodes, *, time: str, array: Sequence[str] = ()
) -> tuple[str, list[Problem]]:
    """The `#SBATCH` lines, ours and then the user's, and the problems with the latter."""
    is_exclusive = nodes.count > 1 if options.exclusive is None else options.exclusive
    gpus = f"{options.gpu_type}:{nodes.gpus}" if options.gpu_type else f"{nodes.gpus}"
    mem = options.mem
    if is_exclusive and not (options.mem or options.mem_per_cpu or options.mem_per_gpu):
        mem = "0"  # all of the node's: an exclusive job else gets the partition's default
    words: list[tuple[str, str | None]] = [("job-name", sweep.name), *(("array", each) for each in array)]
    words += [("nodes", f"{nodes.count}"), ("ntasks-per-node", "1"), ("cpus-per-task", f"{nodes.cpus}")]
    words += [("gpus-per-node", gpus)] if nodes.gpus else []
    words += [("mem", mem), ("mem-per-cpu", options.mem_per_cpu), ("mem-per-gpu", options.mem_per_gpu)]
    words += [("time", time)]
    for name in ("partition", "account", "qos", "constraint", "reservation", "output", "error", "mail_type"):
        words += [(name.replace("_", "-"), getattr(options, name))]
    words += [("mail-user", options.mail_user)]
    lines = [f"--{name}={_quoted(value)}" for name, value in words if value is not None]
    lines += ["--exclusive"] if is_exclusive else []
    lines += ["--requeue", "--open-mode=append", f"--signal=B:USR1@{_GRACE_SECONDS}"]
    own = {line.removeprefix("--").partition("=")[0]: line for line in lines}
    problems = []
    for given in options.sbatch:
        line = given.strip().removeprefix("#SBATCH").strip()
        problem = _line_problem(line, given, own)
        problems += [problem] if problem else []
        lines.append(line)
    return "\n".join(f"#SBATCH {line}" for line in lines), problems


def output_folders(options: SbatchOptions) -> list[str]:
    """Folders of the job's output other than the one that it is submitted in. Slurm makes none."""
    files = (PurePosixPath(each) for each in (options.output, options.error) if each is not None)
    return [folder for folder in dict.fromkeys(str(file.parent) for file in files) if folder != "."]


def making_output_folders(options: SbatchOptions) -> list[str]:
    """The command that makes them, but for those that Slurm names itself (`logs/%j`); empty if there is none."""
    folders = [folder for folder in output_folders(options) if "%" not in folder]
    return ["mkdir", "-p", "--", *folders] if folders else []


def _quoted(value: str) -> str:
    """One word for sbatch, which reads double quotes and backslashes as a shell does."""
    if _BARE.fullmatch(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _line_problem(line: str, given: str, own: dict[str, str]) -> Problem | None:
    """Why a line of the user cannot stand beside ours; None if it can."""
    where = "--sbatch"
    if not _PATH.fullmatch(given):
        return Problem(f"more than one line: {given!r}", where=where, hint="give --sbatch once for each line")
    found = re.match(r"--([a-z][a-z-]*)|-([A-Za-z])", line)
    if found is None:
        return Problem(f"not an option of sbatch: {given!r}", where=where, hint="e.g. --sbatch --comment=ablation")
    try:
        words = shlex.split(line, comments=True)
    except ValueError as err:
        return Problem(f"{given!r} cannot be read: {err}", where=where, hint="close every quote")
    if words != shlex.split(line):
        return Problem(f"sbatch ends a line at '#': {given!r}", where=where, hint="put the value in quotes")
    if any(word.startswith("-") for word in words[1:]):
        return Problem(f"more than one option: {given!r}", where=where, hint="give --sbatch once for each")
    # A value is behind '=', behind the letter, or the next word; sbatch refuses any further one.
    has_value = "=" in words[0] if found[1] else len(words[0]) > len("-x")
    stray = words[1 if has_value else 2 :]
    if stray:
        text = f"sbatch splits a line at spaces, and {stray[0]!r} belongs to no option: {given!r}"
        return Problem(text, where=where, hint="""put the value in quotes, as in --sbatch '--comment="two words"'""")
    name = found[1] or _SHORT.get(found[2], found[2])
    if name in _SCRIPT_ONLY:
        return Problem(f"{given!r} does not belong into a script: {_SCRIPT_ONLY[name]}", where=where)
    family = next((each for each in _FAMILIES if name in each), {name})
    clash = next((own[each] for each in own if each in family), None)
    if name == "gres" and "gpus-per-node" in own and "gpu" in line:
        clash = own["gpus-per-node"]
    if clash is None:
        return None
    option = clash.partition("=")[0]
    hint = f"`#SBATCH {clash}` is written already; change it"
    named = {"--job-name": "by the sweep's name", "--cpus-per-task": "with --cpus-per-node", "--nodes": "with --nodes"}
    named |= {"--array": "with --tasks and --at-once", "--gpus-per-node": "with --gpus-per-node and --gpu-type"}
    fixed = ("--ntasks-per-node", "--requeue", "--open-mode", "--signal")
    hint += " in the file, if you must" if option in fixed else f" {named.get(option, f'with {option}')}"
    return Problem(f"{given!r} contradicts a line of the script", where=where, hint=hint)


def container_words(sweep: LaunchedSweep, options: SbatchOptions) -> tuple[str, list[Problem]]:
    """Options of `srun` (pyxis) for the container, as shell text that ends with a space; empty without one.

    The folders of the sweep, of this command and of the run are mounted under their own paths.
    """
    if options.container_image is None:
        return "", []
    folders = [sweep.path.parent, sweep.folder, *([sweep.run_dir.parent] if sweep.run_dir else [])]
    problems = [
        Problem(f"a folder with ',' or ':' cannot be mounted: {str(each)!r}", where="--container-image")
        for each in dict.fromkeys(folders)
        if {",", ":"} & set(str(each))
    ]
    mounts = [f"{each}:{each}" for each in dict.fromkeys(folders)]
    mounts += [options.container_mounts] if options.container_mounts else []
    words = [f"--container-image={options.container_image}", f"--container-workdir={sweep.folder}"]
    text = shlex.join(words)
    return f'{text} --container-mounts="$folder:$folder",{shlex.quote(",".join(mounts))} ', problems


def setup_lines(options: SbatchOptions) -> str:
    """The user's lines that make archsweep callable."""
    if options.setup:
        return "\n".join(options.setup)
    return "# nothing: archsweep is in the container" if options.container_image else "# nothing: it is on the PATH"


def step_words(container: str) -> str:
    """What starts a command on the only node, before it: nothing, or a step of Slurm in the container."""
    return f'srun --nodes=1 --ntasks=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" {container}\\\n    ' if container else ""


def part_of_a_node(sweep: LaunchedSweep, options: SbatchOptions, nodes: Nodes, container: str) -> str:
    """Lines before a command on the only node: what it may not do to other jobs there."""
    text = ""
    if not options.exclusive:
        text += _SHARED_GPUS if nodes.gpus else ""
        text += _SHARED_MEMORY
    if container and sweep.run_dir:
        text += f"mkdir -p -- {shlex.quote(str(sweep.run_dir.parent))} || exit 1  # to be mounted it must exist\n"
    return text + ("\n" if text else "")


_SHARED_GPUS = """\
# Other jobs may have GPUs of this node: without the names of its own, trials would take theirs.
if [ -z "${CUDA_VISIBLE_DEVICES-}${ROCR_VISIBLE_DEVICES-}${ZE_AFFINITY_MASK-}" ]; then
    echo "archsweep: Slurm gave this job GPUs without their names (CUDA_VISIBLE_DEVICES). Where it hides those" \\
        "of others, say which with --setup 'export CUDA_VISIBLE_DEVICES=0,1'; else ask for --exclusive" >&2
    exit 1
fi
"""
_SHARED_MEMORY = """\
# Ray would end trials when the node is short of memory, whosever jobs use it. Slurm limits this job's.
export RAY_memory_monitor_refresh_ms=0
"""

# The last lines of both scripts; `start` is what comes before the command.
WATCHED = """\
# Slurm signals this shell alone: USR1 {{grace}} before the time is up, after which the job is queued again, and TERM
# for `scancel` and pre-emption. A cancelled job must not come back, and a preempted one Slurm queues itself.
folder=$(mktemp -d) || exit 1  # that no other user can have prepared, or can read
pid_file="$folder/archsweep.pid"
stopping=
again=
stop() {{
    stopping=yes
    if [ -s "$pid_file" ]; then kill -TERM "$(cat -- "$pid_file")"; else kill -TERM "$step"; fi
}}

{start}bash -c '(echo "$BASHPID" > "$0"; exec "$@"); echo "$?" > "$0.code"; exit "$(cat "$0.code")"' "$pid_file" \\
    {command} &
step=$!
trap stop TERM
trap "again=yes; stop" USR1
wait "$step"
code=$?
if [ -n "$stopping" ]; then  # the signal interrupted the first wait
    wait "$step"
    code=$?
fi

if [ ! -e "$pid_file" ] && [ -z "$stopping" ]; then
    rm -rf -- "$folder"
    echo "archsweep was never started: {never}, see above" >&2
    exit 1
fi
# Tasks that Slurm has ended count as killed: the result of the sweep is the exit code of archsweep.
[ -s "$pid_file.code" ] && code=$(cat -- "$pid_file.code")
rm -rf -- "$folder"
if [ -n "$again" ] && [ "$code" -ne 0 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt "$max_requeues" ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
""".replace("{{grace}}", f"{_GRACE_SECONDS} s")
