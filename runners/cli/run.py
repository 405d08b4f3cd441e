"""`archsweep run`: train what is left of a sweep and print its table."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, TextIO, cast

import typer

from archsweep.own_packages import shadowed
from runners.cli.arguments import (
    CacheFolder,
    Overrides,
    Profile,
    Study,
    SweepArgument,
    knowing_runs,
    reject_conflicting_flags,
    run_dir_of,
    study_run_dirs,
)
from runners.cli.check import load_all_checked
from runners.cli.terminal import TolerantStdout, terminal_width
from runners.machine.filesystems import check_run_location
from runners.planning.shard import Shard, shard_problems
from search_space import Problem, SpecError, SweepFile
from search_space.checks.section_checks import storage_issue
from search_space.parsing.visible import visible
from search_space.schema.tracking import OptunaSpec

__all__ = ["run"]

_SIGNALLED = 128  # the exit code of a process that a signal ended is this and the signal


class Engine(StrEnum):
    ray = "ray"
    in_process = "in-process"


class Device(StrEnum):
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"
    xpu = "xpu"


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
    gpus_per_trial: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|auto",
            help="GPUs per trial; a fraction shares a GPU; auto: one where there are any. Overrides resources.gpus.",
        ),
    ] = None,
    device: Annotated[
        Device | None,
        typer.Option(help="Device of every trial. Overrides resources.device; without both it follows from the GPUs."),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Dataset directory. Overrides resources.data_dir.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Download the dataset if it is missing.")] = False,
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
    overrides = list(set_ or ())
    if gpus_per_trial is not None:
        overrides.append(f"resources.gpus={_checked(gpus_per_trial)}")
    if device is not None:
        overrides.append(f"resources.device={device.value}")
    if data_dir is not None:
        overrides.append(f"resources.data_dir={data_dir.resolve()}")
    if download:
        overrides.append("resources.download=true")
    reject_conflicting_flags(cache, no_cache)
    if address is not None and engine is Engine.in_process:
        raise typer.BadParameter("the in-process engine uses no cluster", param_hint="--address")
    share = None if shard is None else Shard.parse(shard)
    files = load_all_checked(sweep, profile, overrides, study)
    if (share or collect) and (problems := [problem for file in files for problem in shard_problems(file)]):
        raise SpecError(problems)
    if share and (optuna_storage is not None or any(file.sweep.track for file in files)):
        files, optuna_storage = [_untracked(file) for file in files], None
        print("archsweep: trackers receive the trials of shards once they are collected", file=sys.stderr)
    if optuna_storage is not None:
        files = [_mirrored(file, optuna_storage) for file in files]
    _check_trackers(files)
    if out is not None and len(files) > 1:
        names = ", ".join(file.study for file in files)
        raise SpecError(Problem(f"names one directory for several studies: {names}", where="--out", hint="add --study"))
    places = {file.study: out or _place(file, profile, share) for file in files}
    for place in places.values():
        if warning := check_run_location(place):
            print(f"archsweep: warning: {warning}", file=sys.stderr)
    siblings = study_run_dirs(sweep, files, profile, overrides)
    files = [knowing_runs(file, siblings) for file in files]
    from runners.machine.gpus import num_gpus_here
    from runners.planning.auto_gpus import hide_unused_gpus, unused_gpus  # imports torch

    if address is None and not quiet and (unused := unused_gpus(files, num_gpus_here)):
        print(f"archsweep: {unused}", file=sys.stderr)
    if engine is Engine.in_process:
        hide_unused_gpus(files)  # this process trains
    worst, left = 0, limit
    for file in files:
        code, started = _run_one(
            file,
            places[file.study],
            list(siblings.values()),
            shard=share,
            collect=collect or (),
            profile=profile or "",
            engine=engine,
            address=address,
            retry=retry,
            limit=left,
            overrides=overrides,
            cache=None if no_cache else cache,
            uses_cache=not no_cache,
            changed=changed.value if changed else "refuse",
            quiet=quiet,
        )
        worst = max(worst, code)
        left = None if left is None else left - started
        if code > _SIGNALLED or (left == 0 and limit):
            break
    if worst:
        raise typer.Exit(worst)


def _checked(gpus: str) -> str:
    """A number of GPUs as it is written in a sweep file."""
    try:
        if gpus == "auto" or float(gpus) >= 0:
            return gpus
    except ValueError:
        pass
    text = f"{gpus!r} is no number of GPUs: write 0, 0.5, 1, 4 or auto"
    raise typer.BadParameter(text, param_hint="--gpus-per-trial")


def _mirrored(file: SweepFile, storage: str) -> SweepFile:
    """The sweep with an Optuna study that mirrors it, in this storage whatever `track` says."""
    if issue := storage_issue(storage):
        raise SpecError(Problem(issue.message, where="--optuna-storage", hint=issue.hint))
    place = storage if "://" in storage else str(Path(storage).expanduser().resolve())
    own = next((tracker for tracker in file.sweep.track if isinstance(tracker, OptunaSpec)), OptunaSpec())
    others = [tracker for tracker in file.sweep.track if not isinstance(tracker, OptunaSpec)]
    track = (*others, own.model_copy(update={"storage": place}))
    return replace(file, sweep=file.sweep.model_copy(update={"track": track}))


def _untracked(file: SweepFile) -> SweepFile:
    """The sweep without trackers: they get every trial from the collected run, once."""
    return replace(file, sweep=file.sweep.model_copy(update={"track": ()}))


def _place(file: SweepFile, profile: str | None, shard: Shard | None) -> Path:
    whole = run_dir_of(file, profile)
    return shard.run_dir(whole) if shard else whole


def _check_trackers(files: list[SweepFile]) -> None:
    """Raises SpecError where a library is missing that `track` needs."""
    if any(file.sweep.track for file in files):
        from runners.trackers import library_problems

        if problems := [problem for file in files for problem in library_problems(file)]:
            raise SpecError(dict.fromkeys(problems))


def _run_one(
    file: SweepFile,
    run_dir: Path,
    siblings: list[Path],
    *,
    shard: Shard | None,
    collect: Sequence[Path],
    profile: str,
    engine: Engine,
    address: str | None,
    retry: Retry | None,
    limit: int | None,
    overrides: list[str],
    cache: Path | None,
    uses_cache: bool,
    changed: Literal["refuse", "retrain", "keep"],
    quiet: bool,
) -> tuple[int, int]:
    """Runs one sweep and prints its table; returns the exit code and how many trials were started."""
    # Heavy from here on: torch, timm and Ray.
    from rich.console import Console

    from results import Run, ablation_table
    from results.exporters.text import write_to_width
    from runners.cache.origin import Origins
    from runners.cache.trial_cache import TrialCache, device_of
    from runners.engines import gpus_of_engine
    from runners.machine.user_cache import default_directory
    from runners.planning.plan import make_plan
    from runners.run_sweep import run_sweep

    out, err = (cast("TextIO", TolerantStdout(stream)) for stream in (sys.stdout, sys.stderr))
    console = Console(file=err)
    memory = (cache or default_directory()) if uses_cache else None

    def say(text: str) -> None:
        console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    made = make_plan(file, profile=profile, say=say, num_gpus=lambda: gpus_of_engine(engine.value, address))
    made = replace(made, shard=shard)
    origins = Origins(made.sweep.resources, say=say)
    for note in dict.fromkeys(note for each in made.data() for note in each.notes):
        console.print(visible(f"data: {note}"), style="yellow", markup=False, soft_wrap=True)
    for entry in made.dropped:
        text = visible(f"dropped: {entry.variant.name}: {'; '.join(entry.reasons)}")
        console.print(text, style="yellow", markup=False)
    result = run_sweep(
        made,
        run_dir,
        engine=engine.value,
        address=address,
        retry=frozenset({retry.value} if retry else ()),
        limit=limit,
        overrides=overrides,
        siblings=siblings,
        collect=collect,
        cache=TrialCache(memory.resolve(), device_of(made), origins) if memory else None,
        changed=changed,
        console=None if quiet else console,
    )
    if result.interrupted and result.signal == signal.SIGHUP:
        return _SIGNALLED + result.signal, result.started  # the terminal is gone
    if result.counts:
        opened = Run.open(run_dir, curves=False)
        write_to_width(ablation_table(opened.plan, opened.records), out, terminal_width(sys.stdout))
        out.flush()
    if not quiet:
        console.print(
            f"run directory: {run_dir}  (table.csv, table.md, trials.csv, curves.csv)", markup=False, style="dim"
        )
    if result.interrupted:
        left = f"{result.remaining} trials left; run the same command again to continue"
        console.print(f"interrupted: {left}", markup=False, style="bold")
        return _SIGNALLED + result.signal, result.started
    if result.counts["failed"]:
        text = f"{result.counts['failed']} trials failed; `archsweep status {run_dir}` shows why; --retry failed"
        console.print(text, markup=False, style="bold red")
        return 3, result.started
    if result.remaining:
        console.print(f"{result.remaining} trials remain; run without --limit to finish", markup=False)
    if shard and not result.counts and not result.remaining:
        console.print(f"shard {shard} has no trial: the sweep has fewer trainings than shards", markup=False)
        return 0, 0
    if not result.counts and not result.started:
        console.print("no trial was run", markup=False, style="bold red")
        return 2, 0
    return 0, result.started
