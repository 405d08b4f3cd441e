"""`archsweep launch slurm` and `slurm-array`: batch scripts for Slurm, printed or submitted.

Both take the same options of `sbatch`, under Slurm's names. `app` has the verbs of all launchers.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from runners.cli.arguments import Overrides, Profile, Study, SweepArgument
from runners.cli.launch import Cpus, Gpus, NumNodes, Out, Setup, Submit, app, launch_file, load_launched
from runners.cli.plugin_option import with_commands, with_plugins
from runners.launch.sbatch import SbatchOptions, output_folders
from runners.launch.slurm_array import SlurmArrayOptions
from runners.planning.shard import shard_problems
from runners.session.sweeps import load_all_checked

__all__ = ["app", "slurm", "slurm_array"]

_Text = str | None
GpuType = Annotated[_Text, typer.Option(metavar="TYPE", help="Type of the GPUs as Slurm names it: a100.")]
Time = Annotated[_Text, typer.Option(help="Slurm time limit. Default: estimated from trials.")]
Partition = Annotated[_Text, typer.Option(help="Slurm partition.")]
Account = Annotated[_Text, typer.Option(help="Slurm account.")]
Qos = Annotated[_Text, typer.Option(help="Quality of service.")]
Constraint = Annotated[_Text, typer.Option(help="Features of the nodes, e.g. 'a100|h100'.")]
Reservation = Annotated[_Text, typer.Option(help="Reservation.")]
Mem = Annotated[_Text, typer.Option(help="Memory of a node, e.g. 64G; 0: all. Default with --exclusive: 0.")]
MemPerCpu = Annotated[_Text, typer.Option(help="Memory per CPU.")]
MemPerGpu = Annotated[_Text, typer.Option(help="Memory per GPU.")]
Exclusive = Annotated[
    bool | None,
    typer.Option("--exclusive/--no-exclusive", help="Whole nodes. Default: only on several nodes.", show_default=False),
]
Output = Annotated[_Text, typer.Option(help="File of the job's output, e.g. 'logs/%x-%j.out'.")]
Error = Annotated[_Text, typer.Option(help="File of the job's errors. Default: that of the output.")]
MailType = Annotated[_Text, typer.Option(help="Events that send mail: END,FAIL.")]
MailUser = Annotated[_Text, typer.Option(help="Who gets mail.")]
Image = Annotated[_Text, typer.Option(help="Container with archsweep (pyxis): srun --container-image.")]
Mounts = Annotated[_Text, typer.Option(help="Further mounts of the container: /data:/data,...")]
Lines = Annotated[
    list[str] | None,
    typer.Option("--sbatch", metavar="LINE", help="Any further #SBATCH line, e.g. --comment=x. Repeatable."),
]


@app.command("slurm")
@with_plugins
@with_commands
def slurm(
    sweep: SweepArgument,
    profile: Profile = None,
    set_: Overrides = None,
    study: Study = None,
    out: Out = None,
    nodes: NumNodes = None,
    cpus_per_node: Cpus = None,
    gpus_per_node: Gpus = None,
    gpu_type: GpuType = None,
    time: Time = None,
    partition: Partition = None,
    account: Account = None,
    qos: Qos = None,
    constraint: Constraint = None,
    reservation: Reservation = None,
    mem: Mem = None,
    mem_per_cpu: MemPerCpu = None,
    mem_per_gpu: MemPerGpu = None,
    exclusive: Exclusive = None,
    output: Output = None,
    error: Error = None,
    mail_type: MailType = None,
    mail_user: MailUser = None,
    container_image: Image = None,
    container_mounts: Mounts = None,
    sbatch: Lines = None,
    setup: Setup = None,
    submit: Submit = False,
) -> None:
    """Slurm batch script.

    One Ray cluster of the job's nodes, or of its part of one node; the run is saved and requeued at the time limit.
    """
    options = _options(dict(locals()))
    launch_file("slurm", load_launched(sweep, profile, set_, study, out), options, submit)
    _warn_of_folders(SbatchOptions(**options), is_made=submit)


@app.command("slurm-array")
@with_plugins
@with_commands
def slurm_array(
    sweep: SweepArgument,
    profile: Profile = None,
    set_: Overrides = None,
    study: Study = None,
    out: Out = None,
    tasks: Annotated[int | None, typer.Option(min=1, help="Tasks. Default: one a trial, at most 100.")] = None,
    at_once: Annotated[
        int | None, typer.Option(min=1, help="Tasks at a time. Default: as resources.max_concurrent says.")
    ] = None,
    cpus_per_node: Annotated[int | None, typer.Option(min=1, help="CPU cores of a task.")] = None,
    gpus_per_node: Annotated[int | None, typer.Option(min=0, help="GPUs of a task.")] = None,
    gpu_type: GpuType = None,
    time: Time = None,
    partition: Partition = None,
    account: Account = None,
    qos: Qos = None,
    constraint: Constraint = None,
    reservation: Reservation = None,
    mem: Mem = None,
    mem_per_cpu: MemPerCpu = None,
    mem_per_gpu: MemPerGpu = None,
    exclusive: Exclusive = None,
    output: Output = None,
    error: Error = None,
    mail_type: MailType = None,
    mail_user: MailUser = None,
    container_image: Image = None,
    container_mounts: Mounts = None,
    sbatch: Lines = None,
    setup: Setup = None,
    submit: Submit = False,
) -> None:
    """Slurm job array, for trials of one node.

    Each task trains a share of the sweep without the others; a last job makes one run of them.
    """
    options = _options(dict(locals()))
    loaded = load_launched(sweep, profile, set_, study, out)
    files = load_all_checked(sweep, profile, set_, study)
    options |= {"refused": tuple(problem for file in files for problem in shard_problems(file))}
    launch_file("slurm-array", loaded, options, submit)
    _warn_of_folders(SlurmArrayOptions(**options), is_made=True)


def _warn_of_folders(options: SbatchOptions, *, is_made: bool) -> None:
    """Name the folders of the job's output that will be missing: Slurm makes none, and such a job fails in silence."""
    for folder in output_folders(options):
        if "%" in folder or not (is_made or Path(folder).is_dir()):
            text = f"Slurm makes no folder for the output, and without it the job fails in silence: {folder}"
            print(f"archsweep: warning: {text}", file=sys.stderr)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """The options of the launcher; `setup` is this environment unless it is given, or a container has its own."""
    of_the_sweep = {"sweep", "profile", "set_", "study", "out", "submit"}
    options = {name: value for name, value in given.items() if name not in of_the_sweep}
    here = () if options["container_image"] else (f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",)
    return options | {"setup": tuple(options["setup"] or here), "sbatch": tuple(options["sbatch"] or ())}
