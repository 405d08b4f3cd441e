"""`archsweep launch`: a launch file for a cluster, printed or submitted."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from runners.cli.arguments import Overrides, Profile, Study, SweepArgument
from runners.cli.plugin_option import commands_are_allowed, with_commands, with_plugins
from runners.launch import LAUNCHERS
from runners.launch.launched_sweep import LaunchedSweep, launched_sweep
from runners.machine.filesystems import check_run_location
from runners.planning.history import read_history
from runners.session.sweeps import load_all_checked, one_directory, run_dir_of
from search_space import Problem, SpecError
from search_space.plugins import loaded_plugins
from search_space.schema.task import CommandSpec

__all__ = ["Cpus", "Gpus", "NumNodes", "Out", "Setup", "Submit", "app", "launch_file", "load_launched"]

app = typer.Typer(
    help="Print or submit a launch file for a cluster.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)

Out = Annotated[
    Path | None, typer.Option(help="Run directory as the nodes see it. Default: runs/NAME or runs/NAME-PROFILE here.")
]
Submit = Annotated[bool, typer.Option("--submit", help="Write the file here and submit it.")]
NumNodes = Annotated[int | None, typer.Option(min=1, help="Number of nodes. Default: from resources.max_concurrent.")]
Cpus = Annotated[int | None, typer.Option(min=1, help="CPU cores of a node.")]
Gpus = Annotated[int | None, typer.Option(min=0, help="GPUs of a node.")]
Setup = Annotated[list[str] | None, typer.Option(help="Shell line that puts archsweep on the PATH. Repeatable.")]


@app.command("kuberay")
@with_plugins
@with_commands
def kuberay(
    sweep: SweepArgument,
    profile: Profile = None,
    set_: Overrides = None,
    study: Study = None,
    image: Annotated[str | None, typer.Option(help="Docker image with archsweep and this version of Ray.")] = None,
    claim: Annotated[
        str | None, typer.Option(help="PersistentVolumeClaim for run directories, mounted at /runs.")
    ] = None,
    data_claim: Annotated[
        str | None, typer.Option(help="PersistentVolumeClaim of the dataset, mounted at /data.")
    ] = None,
    nodes: NumNodes = None,
    cpus_per_node: Cpus = None,
    gpus_per_node: Gpus = None,
    memory: Annotated[str, typer.Option(help="Memory of a worker pod.")] = "16Gi",
    namespace: Annotated[str, typer.Option(help="Kubernetes namespace.")] = "default",
    retries: Annotated[int, typer.Option(min=0, help="Restarts after a lost cluster; each continues the run.")] = 2,
    submit: Submit = False,
) -> None:
    """RayJob manifest for the KubeRay operator."""
    options = {"image": image, "claim": claim, "data_claim": data_claim, "nodes": nodes, "cpus_per_node": cpus_per_node}
    options |= {"gpus_per_node": gpus_per_node, "memory": memory, "namespace": namespace, "retries": retries}
    launch_file("kuberay", load_launched(sweep, profile, set_, study, None), options, submit)


@app.command("ray-cluster")
@with_plugins
@with_commands
def ray_cluster(
    sweep: SweepArgument,
    profile: Profile = None,
    set_: Overrides = None,
    study: Study = None,
    out: Out = None,
    provider: Annotated[str | None, typer.Option(help="`local` (machines over ssh) or `aws`.")] = None,
    head: Annotated[str | None, typer.Option(help="local: address of the head.")] = None,
    worker: Annotated[
        list[str] | None, typer.Option(help="local: address of a machine for trials. Repeatable.")
    ] = None,
    user: Annotated[str, typer.Option(help="ssh user.")] = "ubuntu",
    ssh_key: Annotated[
        str | None, typer.Option(help="local: private key; copied to the head, which starts the other machines.")
    ] = None,
    region: Annotated[str | None, typer.Option(help="aws: region.")] = None,
    instance_type: Annotated[str | None, typer.Option(help="aws: machine for trials.")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="aws: machines for trials; default 1.")] = None,
    image: Annotated[str | None, typer.Option(help="Docker image with archsweep in it.")] = None,
    setup: Setup = None,
    submit: Submit = False,
) -> None:
    """Cluster file for `ray up`."""
    options = {"provider": provider, "head": head, "workers": tuple(worker or ()), "user": user, "ssh_key": ssh_key}
    options |= {"region": region, "instance_type": instance_type, "nodes": nodes}
    options |= {"image": image, "setup": tuple(setup or ())}
    launch_file("ray-cluster", load_launched(sweep, profile, set_, study, _absolute(out)), options, submit)


@app.command("job")
@with_plugins
@with_commands
def job(
    sweep: SweepArgument,
    profile: Profile = None,
    set_: Overrides = None,
    study: Study = None,
    out: Out = None,
    address: Annotated[str | None, typer.Option(help="Dashboard of the cluster, http://HEAD:8265.")] = None,
    submit: Submit = False,
) -> None:
    """`ray job submit` to a running Ray cluster."""
    launch_file("job", load_launched(sweep, profile, set_, study, _absolute(out)), {"address": address}, submit)


def _absolute(out: Path | None) -> Path:
    """The run directory, absolute: other machines have another working directory."""
    if out is None or not (out.is_absolute() or ":/" in str(out)):
        came = "no run directory" if out is None else f"not an absolute path: {str(out)!r}"
        hint = "an absolute path that all nodes share, e.g. --out /shared/runs/NAME"
        raise SpecError(Problem(came, where="--out", hint=hint))
    return out


def load_launched(
    path: Path, profile: str | None, set_: list[str] | None, study: str | None, out: Path | None
) -> LaunchedSweep:
    """Validate the sweep as `archsweep check` does, and read trial durations from its ledger."""
    files = load_all_checked(path, profile, set_, study)
    one_directory(files, out)
    run_dirs = [run_dir_of(file) for file in files]
    if warning := check_run_location(out or run_dirs[0]):
        print(f"archsweep: warning: {warning}", file=sys.stderr)
    options = ["--profile", profile] if profile else []
    for assignment in set_ or ():
        options += ["--set", assignment]
    options += ["--study", study] if study else []
    task = files[0].sweep.baseline.task
    if isinstance(task, CommandSpec):
        if not commands_are_allowed():
            text = f"the job would start a program: {shlex.join(task.argv)}"
            raise SpecError(files[0].problem("baseline.task.argv", text, "if you trust it: --allow-commands"))
        options.append("--allow-commands")
    history = read_history(out or run_dirs[0])
    plugins = tuple(plugin for plugin in loaded_plugins() if plugin.kind == "file")
    seconds = history.typical_seconds
    return launched_sweep(files, run_dirs=run_dirs, options=options, out=out, trial_seconds=seconds, plugins=plugins)


def launch_file(name: str, sweep: LaunchedSweep, options: dict[str, Any], submit: bool) -> None:
    launcher = LAUNCHERS[name]
    chosen = launcher.options(**options)
    text = launcher.write(sweep, chosen)
    if options.get("gpus_per_node") and not sweep.gpus and not sweep.takes_any_gpu:
        warning = "no trial takes a GPU (resources.gpus is 0), so those of a node would be idle"
        print(f"archsweep: warning: {warning}; --set resources.gpus=1 gives each trial one", file=sys.stderr)
    if not submit:
        print(text, end="")
        return
    path = Path(f"launch-{sweep.name}-{name}{launcher.suffix}")
    commands = launcher.submit(str(path), sweep, chosen)
    program = {"job": "ray", "slurm-array": "sbatch"}.get(name, commands[-1][0])
    if shutil.which(program) is None:
        hint = "run this where the cluster's client is installed, or without --submit and carry the file there"
        raise SpecError(Problem(f"there is no `{program}` on the PATH", where="--submit", hint=hint))
    path.write_text(text, encoding="utf-8")
    print(f"written: {path}", file=sys.stderr)
    for command in commands:
        code = subprocess.run(command).returncode
        if code:
            raise typer.Exit(code)
