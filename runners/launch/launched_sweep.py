"""Sweep as seen by the launch files: command line, number of trials, and trials per node.

Free of heavy imports: a launch file is written on a login node, which may have neither the data nor a GPU.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search_space import Problem, Resources, SpecError, SweepFile, possible_resources, variants
from search_space.plugins import Plugin

__all__ = ["LaunchedSweep", "Nodes", "launched_sweep", "refusing"]

_MOST_COUNTED = 100_000


@dataclass(frozen=True)
class Nodes:
    """Nodes of one kind; `slots` trials run at a time on each."""

    count: int
    cpus: int
    gpus: int
    slots: int


@dataclass(frozen=True)
class LaunchedSweep:
    """A sweep to be launched on a cluster.

    Attributes:
        options: `--profile`, `--set` and `--study` as given by the user, for `archsweep run`.
        plugins: those whose files or folders the user named.
        run_dir: absolute path; None where several studies have one each.
        takes_any_gpu: whether some trials take one GPU where there are any (`gpus: auto`); `gpus` has them at 0.
        num_trials: upper bound, since `require` is not evaluated.
        trial_seconds: duration of one trial according to the run's ledger; None where it is unknown.
        time_limit: time limit of one trial in seconds, where the sweep sets it.
        grace_seconds: time for running trials to save a checkpoint.
        relative: key -> problem with a folder that is relative to the sweep file, for launchers that copy the sweep
            file to another place.
    """

    name: str
    path: Path
    text: str
    options: tuple[str, ...]
    run_dir: Path | None
    folder: Path
    cpus: float
    gpus: float
    takes_any_gpu: bool
    max_concurrent: int | None
    num_trials: int
    trial_seconds: float | None = None
    time_limit: float | None = None
    grace_seconds: float = 30.0
    relative: Mapping[str, Problem] = field(default_factory=dict)
    plugins: tuple[Plugin, ...] = ()

    def command(
        self,
        *,
        sweep: str | None = None,
        address: str | None = "auto",
        out: str | None = None,
        plugins: str | None = None,
    ) -> list[str]:
        """Words of the `archsweep run` command, unquoted; `sweep` and `out`: paths on the cluster, if different, and
        `plugins` a folder there with copies of the plug-ins."""
        out = out or (str(self.run_dir) if self.run_dir else None)
        words = ["archsweep", "run", sweep or str(self.path), *self.options]
        for plugin in self.plugins:
            words += ["--plugin", plugin.origin if plugins is None else f"{plugins}/{Path(plugin.origin).name}"]
        words += ["--address", address] if address else []
        return words + (["--out", out] if out else [])

    def on_nodes(self, count: int | None, cpus: int | None, gpus: int | None) -> Nodes:
        """Nodes for the trials; `count` as given, else as many as `max_concurrent` needs, else one.

        Raises:
            SpecError: the CPUs or GPUs of a node are not given, or a trial does not fit on a node.
        """
        asked = max(self.gpus, 1.0 if self.takes_any_gpu and gpus else 0.0)
        with refusing() as problems:
            if self.gpus and not gpus:
                text = f"a trial needs {self.gpus:g} GPUs, but the number per node is not given"
                problems.append(Problem(text, where="--gpus-per-node", hint="e.g. --gpus-per-node 4"))
            elif gpus and self.gpus > gpus:
                text = f"a trial needs {self.gpus:g} GPUs, a node has {gpus}"
                problems.append(Problem(text, where="--gpus-per-node", hint="a trial never spans nodes"))
            if not asked and not cpus:
                text = f"a trial needs {self.cpus:g} CPUs, but the number per node is not given"
                problems.append(Problem(text, where="--cpus-per-node", hint="e.g. --cpus-per-node 16"))
            elif cpus and self.cpus > cpus:
                text = f"a trial needs {self.cpus:g} CPUs, a node has {cpus}"
                problems.append(Problem(text, where="--cpus-per-node", hint="a trial never spans nodes"))
        by_gpu = int((gpus or 0) / asked + 1e-9) if asked else None
        cpus = cpus or max(1, math.ceil((by_gpu or 1) * self.cpus))
        fits = [by_gpu] if by_gpu is not None else []
        fits += [int(cpus / self.cpus + 1e-9)] if self.cpus else []
        slots = max(1, min(fits, default=1))
        busy = min(self.max_concurrent or 1, self.num_trials)
        return Nodes(count or math.ceil(busy / slots), cpus, gpus or 0, slots)

    def minutes_on(self, nodes: Nodes) -> tuple[int, str] | None:
        """Minutes until the end of the sweep plus 25 %, and the source of the figure; None where it is unknown."""
        at_once = min(nodes.count * nodes.slots, self.max_concurrent or self.num_trials)
        rounds = math.ceil(self.num_trials / at_once)
        for seconds, source in (
            (self.trial_seconds, "the trials in the run directory"),
            (self.time_limit, "resources.time_limit"),
        ):
            if seconds:
                return max(10, math.ceil(1.25 * rounds * seconds / 60)), source
        return None

    def describe(self, nodes: Nodes | None = None) -> str:
        """Description for the head of a launch file."""
        text = f"at most {self.num_trials} trials of {self.cpus:g} CPUs and {self.gpus:g} GPUs"
        text += ", and one GPU where there are any" if self.takes_any_gpu else ""
        return text + (f"; {nodes.slots} at a time on a node" if nodes else "")


def launched_sweep(
    files: list[SweepFile],
    *,
    run_dirs: list[Path],
    options: list[str],
    out: Path | None,
    trial_seconds: float | None,
    plugins: tuple[Plugin, ...] = (),
) -> LaunchedSweep:
    """Combine the studies of a file (usually one) to one launch; resources are those of the largest trial."""
    first = files[0]
    assert first.path is not None, "a launched sweep is a file"
    together = [file.sweep.resources.max_concurrent for file in files]
    resources = [kind for file in files for kind in possible_resources(file.sweep.resources)]
    limits = [each.time_limit for each in resources]
    return LaunchedSweep(
        name=first.sweep.name,
        path=Path(first.path).resolve(),
        text=first.text,
        options=tuple(options),
        plugins=plugins,
        run_dir=(out or run_dirs[0]).absolute() if len(files) == 1 else None,
        folder=Path.cwd(),
        cpus=max(each.cpus for each in resources),
        gpus=max(_gpus(each) for each in resources),
        takes_any_gpu=any(each.gpus == "auto" for each in resources),
        max_concurrent=None if None in together else max(each for each in together if each),
        num_trials=sum(_num_trials(file) for file in files),
        trial_seconds=trial_seconds,
        time_limit=None if None in limits else max(float(each) for each in limits if each is not None),
        grace_seconds=max(file.sweep.checkpoints.grace_seconds for file in files),
        relative={place: problem for file in files for place, problem in _relative_folders(file)},
    )


@contextmanager
def refusing() -> Iterator[list[Problem]]:
    """Collect problems and raise them together."""
    problems: list[Problem] = []
    yield problems
    if problems:
        raise SpecError(problems)


def _gpus(resources: Resources) -> float:
    # Trials packed by memory share a GPU; the share is measured later, and a whole GPU is always sufficient.
    if resources.gpus == "auto":
        return 0.0
    return resources.num_gpus or (1.0 if resources.gpu_memory is not None else 0.0)


def _relative_folders(file: SweepFile) -> Iterator[tuple[str, Problem]]:
    written = file.resolved
    track = written.get("track") or ()
    places: list[tuple[tuple[str | int, ...], Any]] = [(("resources",), written.get("resources"))]
    places += (
        [(("track", i), each) for i, each in enumerate(track)] if isinstance(track, tuple) else [(("track",), track)]
    )
    for place, mapping in places:
        for key in ("data_dir", "dir", "storage"):
            value = mapping.get(key) if isinstance(mapping, dict) else None
            if isinstance(value, str) and not value.startswith(("/", "~")) and "://" not in value:
                path = (*place, key)
                text = f"relative to the sweep file, which has another path on the cluster: {value!r}"
                name = ".".join(map(str, path))
                yield name, file.problem(path, text, hint="an absolute path, as the nodes see it")


def _num_trials(file: SweepFile) -> int:
    sweep = file.sweep
    if sweep.search:
        return sweep.num_search_trials
    count = sum(1 for _ in itertools.islice(variants(sweep), _MOST_COUNTED))
    tuning = sweep.retune.num_trials * len(sweep.retune.seeds) if sweep.retune else 0
    return count * (len(sweep.seeds) + tuning)
