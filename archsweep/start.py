"""Running a sweep from Python: what `archsweep run` does, with the run as its result."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from archsweep.opened_run import Run
from archsweep.own_packages import shadowed
from archsweep.planned_sweep import Plan
from archsweep.sweep_source import Overrides, Source, assignments, load_again_with, load_sweep
from runners.display.notebook import in_notebook
from runners.session.start_run import Prepared, RunOptions, Started, Voice, prepared, started_runs
from search_space import Problem, SpecError, SweepFile
from search_space.parsing.visible import visible

if TYPE_CHECKING:
    from runners.planning.plan import Plan as SweepPlan

__all__ = ["run"]

_SIGNALLED = 128  # the exit code of a process that a signal ended is this and the signal


def run(
    sweep: SweepFile | Plan | Source,
    *,
    out: str | os.PathLike[str] | None = None,
    engine: Literal["ray", "in-process"] = "ray",
    address: str | None = None,
    gpus_per_trial: float | Literal["auto"] | None = None,
    device: Literal["cpu", "cuda", "mps", "xpu"] | None = None,
    overrides: Overrides = (),
    limit: int | None = None,
    retry: Literal["failed"] | None = None,
    cache: bool | str | os.PathLike[str] = True,
    changed: Literal["retrain", "keep"] | None = None,
    allow_commands: bool = False,
    progress: bool = True,
) -> Run:
    """Run a sweep, or continue it: trials with a record are not run again.

    Failed trials are no exception: `run.failed` and `run.status` have them.

    Args:
        sweep: of `load_sweep`, what it takes, or a `Plan`, which is not made again.
        out: run directory. Default: `runs/NAME` or `runs/NAME-PROFILE` of the working directory.
        engine: `in-process` trains one trial after the other in this process, `ray` in processes of its own.
        address: Ray cluster, `auto` or `HOST:6379`. Default: a private one that ends with the call. A cluster that
            this process is connected to is used and left running.
        gpus_per_trial: in place of `resources.gpus`.
        device: in place of `resources.device`.
        overrides: further values in place of the sweep's: `{"train.epochs": 5}`.
        limit: start at most this many trainings.
        retry: `failed` runs failed trials again.
        cache: the trial cache: False for none, or its folder.
        changed: what becomes of trials of other data, code or software; without it such a start is refused.
        allow_commands: let the sweep start its program (task `command`).
        progress: show it: HTML in a notebook, a live view on a terminal, lines elsewhere.

    Raises:
        SpecError: the sweep cannot be run; with every problem found.
        KeyboardInterrupt: Ctrl-C, or the notebook's stop. Running trials have saved themselves and the tables are
            written: the same call continues.
        SystemExit: SIGTERM or a lost terminal, after the same.
    """
    if problems := shadowed():
        raise SpecError([Problem(text) for text in problems])
    if engine not in ("ray", "in-process"):
        raise SpecError(Problem(f"unknown engine {engine!r}", where="engine", hint="known: in-process, ray"))
    if address is not None and engine == "in-process":
        raise SpecError(Problem("the in-process engine uses no cluster", where="address"))
    if limit is not None and limit < 1:
        raise SpecError(Problem(f"must be at least 1, but got {limit}", where="limit"))
    options = RunOptions(
        out=None if out is None else Path(out),
        engine=engine,
        address=address,
        retry=frozenset({retry} if retry else ()),
        limit=limit,
        cache=None if isinstance(cache, bool) else Path(cache),
        uses_cache=cache is not False,
        changed=changed or "refuse",
        allow_commands=allow_commands,
    )
    if in_notebook():  # Ray asks for ipywidgets in every notebook without them, which nothing here uses
        logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)
    file, made = _asked(sweep, _further(gpus_per_trial, device, overrides), uses_cluster=address is not None)
    sweeps = prepared([file], options, warn=_warn)
    if made is not None:
        sweeps = Prepared((made.file,), sweeps.siblings)
    # Unlike the command, GPUs that no trial uses are not hidden from this process: its caller may use them.
    (started,) = started_runs(sweeps, options, _voice(progress), plan=made)
    return _result(started)


def _further(gpus: float | str | None, device: str | None, overrides: Overrides) -> list[str]:
    given = assignments(overrides)
    given += [] if gpus is None else [f"resources.gpus={gpus}"]
    return given + ([] if device is None else [f"resources.device={device}"])


def _asked(
    sweep: SweepFile | Plan | Source, further: list[str], *, uses_cluster: bool
) -> tuple[SweepFile, SweepPlan | None]:
    """The sweep to run, and its plan where that holds: `gpus: auto` of another machine does not."""
    if isinstance(sweep, Plan):
        if not further and not uses_cluster:
            return sweep.sweep, sweep.made
        return load_again_with(sweep.sweep, further), None
    return load_again_with(sweep if isinstance(sweep, SweepFile) else load_sweep(sweep), further), None


def _warn(text: str) -> None:
    print(f"archsweep: {text}", file=sys.stderr)


def _voice(progress: bool) -> Voice:
    """Messages on stderr. Not as HTML in a notebook, where each would be an output by itself."""
    console = Console(file=sys.stderr, force_jupyter=False)

    def say(text: str) -> None:
        if progress:
            console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    return Voice(say, say, _warn, console if progress else None)


def _result(started: Started) -> Run:
    outcome = started.outcome
    if not outcome.interrupted:
        return Run(started.path)
    text = f"{started.path}: {outcome.remaining} trials left; the same call continues"
    if outcome.signal == signal.SIGINT:
        raise KeyboardInterrupt(text)
    print(f"archsweep: interrupted: {text}", file=sys.stderr)
    raise SystemExit(_SIGNALLED + outcome.signal)
