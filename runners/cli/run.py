"""`archsweep run`: train what is left of a sweep and print its table."""

from __future__ import annotations

import gc
import signal
import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO, cast

import typer

from archsweep.own_packages import shadowed
from runners.cli.arguments import CacheFolder, Overrides, Profile, Study, SweepArgument, reject_conflicting_flags
from runners.cli.resource_options import DataDir, DeviceOption, Download, GpusPerTrial, resource_overrides
from runners.cli.terminal import TolerantStdout, terminal_width
from runners.engines.forkserver.start import forked_forkserver
from runners.planning.shard import Shard
from runners.session.start_run import RunOptions, Started, Voice, prepared, started_runs
from runners.session.sweeps import load_all_checked
from search_space import Problem, SpecError
from search_space.parsing.visible import visible

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["run"]

_SIGNALLED = 128  # the exit code of a process that a signal ended is this and the signal


class Engine(StrEnum):
    ray = "ray"
    in_process = "in-process"


class Retry(StrEnum):
    failed = "failed"


class Changed(StrEnum):
    retrain = "retrain"
    keep = "keep"


def run(
    sweep: SweepArgument,
    profile: Profile = None,
    set_: Overrides = None,
    study: Study = None,
    engine: Annotated[
        Engine, typer.Option(help="in-process: one trial after the other in this process, for debugging.")
    ] = Engine.ray,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster, e.g. auto or HOST:6379. Default: a private one.")
    ] = None,
    gpus_per_trial: GpusPerTrial = None,
    device: DeviceOption = None,
    data_dir: DataDir = None,
    download: Download = False,
    limit: Annotated[int | None, typer.Option(min=0, help="Start at most this many trainings; 0: none.")] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Train share I of N, in a run directory of its own: runs/NAME-shards/I-of-N."),
    ] = None,
    collect: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Take over the records of this run directory, or of those in this folder (shards). Repeatable.",
        ),
    ] = None,
    retry: Annotated[Retry | None, typer.Option(help="Re-run failed trials.")] = None,
    cache: CacheFolder = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Ignore the trial cache.")] = False,
    changed: Annotated[
        Changed | None,
        typer.Option(help="Trials of other data, code or software: train again, or keep (never of other data)."),
    ] = None,
    allow_commands: Annotated[
        bool, typer.Option("--allow-commands", help="Let the sweep start its program (task: command).")
    ] = False,
    optuna_storage: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL",
            help="Mirror the run as a study for optuna-dashboard: a journal file, or e.g. sqlite:///FILE.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory. Default: runs/NAME or runs/NAME-PROFILE.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the table only.")] = False,
) -> None:
    """Run a sweep, or continue it.

    Finished trials are not run again; an edited sweep runs only what is new. Shards train a sweep apart, and
    `--collect` makes one run of them: docs/cluster.md.

    Exit code 0: all done. 2: the sweep cannot be run. 3: finished, but some trials failed. 129, 130, 143: interrupted
    by a lost terminal, Ctrl-C or SIGTERM; running trials are saved, and the same command continues them.
    """
    if problems := shadowed():
        raise SpecError([Problem(text) for text in problems])
    resources = resource_overrides(gpus_per_trial=gpus_per_trial, device=device, data_dir=data_dir, download=download)
    reject_conflicting_flags(cache, no_cache)
    if address is not None and engine is Engine.in_process:
        raise typer.BadParameter("the in-process engine uses no cluster", param_hint="--address")
    options = RunOptions(
        out=out,
        engine=engine.value,
        address=address,
        retry=frozenset({retry.value} if retry else ()),
        limit=limit,
        cache=cache,
        uses_cache=not no_cache,
        changed=changed.value if changed else "refuse",
        allow_commands=allow_commands,
        shard=None if shard is None else Shard.parse(shard),
        collect=tuple(collect or ()),
        optuna_storage=optuna_storage,
    )
    sweeps = prepared(load_all_checked(sweep, profile, [*(set_ or ()), *resources], study), options, warn=_warn)
    with ExitStack() as lasting:
        if engine is Engine.ray and address in (None, "local"):
            # Before this process imports torch for itself, and does anything with it.
            tasks = [file.sweep.baseline.task.name for file in sweeps.files]
            lasting.enter_context(forked_forkserver(*tasks))
        from runners.machine.gpus import num_gpus_here
        from runners.planning.auto_gpus import hide_unused_gpus, unused_gpus  # imports torch

        if address is None and not quiet and (unused := unused_gpus(sweeps.files, num_gpus_here)):
            _warn(unused)
        if engine is Engine.in_process:
            hide_unused_gpus(sweeps.files)  # this process trains
        gc.enable()  # paused for the imports, a fifth of whose time the collector would take
        console, shown = _consoles()
        runs = started_runs(sweeps, options, _voice(console, quiet=quiet))
        worst = max(_reported(started, console, shown, quiet=quiet) for started in runs)
    if worst:
        raise typer.Exit(worst)


def _warn(text: str) -> None:
    print(f"archsweep: {text}", file=sys.stderr)


def _consoles() -> tuple[Console, TextIO]:
    """Where progress and the table go."""
    from rich.console import Console

    out, err = (cast("TextIO", TolerantStdout(stream)) for stream in (sys.stdout, sys.stderr))
    return Console(file=err), out


def _voice(console: Console, *, quiet: bool) -> Voice:
    def say(text: str) -> None:
        console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def remark(text: str) -> None:
        console.print(visible(text), style="yellow", markup=False, soft_wrap=True)

    return Voice(say, remark, _warn, None if quiet else console)


def _reported(started: Started, console: Console, out: TextIO, *, quiet: bool) -> int:
    """Print the table of a run that was started; returns the exit code."""
    from results import Run, ablation_table
    from results.exporters.text import write_to_width

    outcome, run_dir = started.outcome, started.path
    if outcome.interrupted and outcome.signal == signal.SIGHUP:
        return _SIGNALLED + outcome.signal  # the terminal is gone
    if outcome.counts:
        opened = Run.open(run_dir, curves=False)
        write_to_width(ablation_table(opened.plan, opened.records), out, terminal_width(sys.stdout))
        out.flush()
    if not quiet:
        console.print(
            f"run directory: {run_dir}  (table.csv, table.md, trials.csv, curves.csv)", markup=False, style="dim"
        )
    if outcome.interrupted:
        left = f"{outcome.remaining} trials left; run the same command again to continue"
        console.print(f"interrupted: {left}", markup=False, style="bold")
        return _SIGNALLED + outcome.signal
    if outcome.counts["failed"]:
        text = f"{outcome.counts['failed']} trials failed; `archsweep status {run_dir}` shows why; --retry failed"
        console.print(text, markup=False, style="bold red")
        return 3
    if outcome.remaining:
        console.print(f"{outcome.remaining} trials remain; run without --limit to finish", markup=False)
    shard = started.plan.shard
    if shard and not outcome.counts and not outcome.remaining:
        console.print(f"shard {shard} has no trial: the sweep has fewer trainings than shards", markup=False)
        return 0
    if not outcome.counts and not outcome.started:
        console.print("no trial was run", markup=False, style="bold red")
        return 2
    return 0
