"""The task `command`: arguments, environment and files of one trial, its program, and the numbers that this gives."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from results.store.files import atomic_write
from results.store.links import opener_within
from results.store.run_layout import TrialDir
from runners.training.foreign.function import as_plain
from runners.training.foreign.program import CommandFailed, await_end, running
from runners.training.foreign.report import BadReport, TrainingReport, TrainingStopped
from runners.training.foreign.sources import OutputPatterns, Progress, result_of
from search_space.schema.identity import trial_id
from search_space.schema.resources import Resources
from search_space.schema.task import CommandSpec
from search_space.schema.trial import TrialSpec
from search_space.settings.placeholders import filled

__all__ = ["CommandFailed", "command_line", "run_command", "working_directory"]


def run_command(
    spec: TrialSpec, report: TrainingReport, resources: Resources, *, grace: float, metric: str
) -> dict[str, float]:
    """Run the program of a trial; returns the metrics that it gives.

    Raises:
        CommandFailed: it cannot be started, or ends with an error.
        BadReport: what it gives are no numbers.
        TrainingStopped: the trial is pruned, or the run is interrupted.
    """
    task = spec.task
    assert isinstance(task, CommandSpec)
    base = Path(resources.sweep_dir or ".").resolve()
    folder = report.directory.resolve()
    words = {
        "seed": spec.seed,
        "device": report.device,
        "dir": str(folder),
        "trial_id": trial_id(spec),
        "config_file": str(folder / task.config_file) if task.config_file else "",
        "python": sys.executable,
    }
    _write_config(task, folder)
    _remove_results(task, folder)

    def fill(text: str) -> str:
        return filled(text, spec, words)

    argv = command_line(task, base, fill)
    if task.resume is not None and (folder / task.resume.file).exists():
        argv += [_located(fill(text), task, base, is_program=False) for text in task.resume.argv]
    env = {**os.environ, **{name: fill(text) for name, text in task.env.items()}}
    cwd = working_directory(task, base) or folder
    seen = OutputPatterns(task.results.regex)
    progress = Progress(task.progress, folder) if task.progress else None
    faults: list[BadReport] = []

    def see(line: str) -> None:  # in the thread that reads the output
        try:
            seen.see(line)
            if progress:
                progress.see(line)
        except BadReport as err:
            faults.append(err)

    def take_epochs() -> None:
        for point in progress.fresh() if progress else ():
            number = _epoch_of(task, point, len(report.curve))
            if report.curve and number <= report.curve[-1]["epoch"]:
                continue  # written again by a program that continues
            report(number, **point)

    def tick() -> None:
        if faults:
            raise faults[0]
        take_epochs()
        if report.should_stop:
            raise TrainingStopped(is_pruned=False)

    trial = TrialDir(folder.parent)
    try:
        with (
            open(trial.log, "ab", opener=opener_within(trial.run_dir())) as output,
            running(grace, argv, cwd=cwd, env=env, log=output, on_line=see) as program,
        ):
            await_end(program, tick)
    except TrainingStopped as stop:
        # A program may end its epoch and save itself in the grace period: it continues behind that one.
        with contextlib.suppress(TrainingStopped, BadReport):
            if not stop.is_pruned:
                take_epochs()
        raise
    return result_of(task.results, folder, seen, metric)


def command_line(task: CommandSpec, base: Path, fill: Callable[[str], str]) -> list[str]:
    """The arguments with their values. One that names an existing file beside the sweep, or in `cwd`, is made absolute,
    because the program has another working directory; so is the file of `--option=FILE`."""
    found = [fill(text) for text in task.argv]
    return [_located(text, task, base, is_program=index == 0) for index, text in enumerate(found)]


def working_directory(task: CommandSpec, base: Path) -> Path | None:
    """The folder of `cwd`; None where it is the trial's own folder."""
    return None if task.cwd is None else base / Path(task.cwd).expanduser()


def _located(text: str, task: CommandSpec, base: Path, *, is_program: bool) -> str:
    option, equals, value = text.partition("=")
    if text.startswith("-"):
        path = _beside(value, task, base) if equals else None
        # A folder may have the name of a value that is none, such as --model=vit.
        return f"{option}={path}" if path is not None and path.is_file() else text
    if is_program and os.sep not in text and shutil.which(text):
        return text  # a program of the PATH
    path = _beside(text, task, base)
    return text if path is None else str(path)


def _beside(text: str, task: CommandSpec, base: Path) -> Path | None:
    """What a relative path names beside the sweep, or in the program's working directory."""
    if not text or os.path.isabs(text):
        return None
    places = [base, *filter(None, [working_directory(task, base)])]
    return next((place / text for place in places if (place / text).exists()), None)


def _write_config(task: CommandSpec, folder: Path) -> None:
    if task.config_file is None:
        return
    path = folder / task.config_file
    path.parent.mkdir(parents=True, exist_ok=True)
    config = as_plain(task.config)
    is_json = path.suffix == ".json"
    atomic_write(path, json.dumps(config, indent=2) if is_json else yaml.safe_dump(config, sort_keys=False))


def _epoch_of(task: CommandSpec, point: dict[str, float], num_reported: int) -> int:
    """Number of an epoch, counted from 1, which is taken out of its point.

    Raises:
        BadReport: what the program calls its epoch is no number of one.
    """
    epoch = point.pop("epoch", None)
    if epoch is None:
        return num_reported + 1
    if not epoch.is_integer():
        raise BadReport(f"an epoch's number must be whole, but is {epoch}")
    first = task.progress.first_epoch if task.progress else 1
    if epoch < first:
        say = "; if the program counts from 0, write progress.first_epoch: 0" if epoch == 0 else ""
        raise BadReport(f"the first epoch has the number {epoch:g}, and must have {first}{say}")
    return int(epoch) + 1 - first


def _remove_results(task: CommandSpec, folder: Path) -> None:
    """A file of an earlier attempt must not be taken for the result of this one. Files of progress stay: a program that
    continues adds to them, and the folder is a new one where data, code or software are others."""
    kept = {task.progress.json_file, task.progress.csv} if task.progress else set()
    for name in (task.results.json_file, task.results.csv):
        if name is not None and name not in kept:
            (folder / name).unlink(missing_ok=True)
