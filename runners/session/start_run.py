"""One start of the sweeps of a file, study by study: what the command line and Python do between loading a sweep and
looking at its table.

    files = prepared(load_all_checked(...), options, say=...)      every refusal that needs no training
    for started in started_runs(files, options, ...): ...          plan, cache, training, tables

Nothing here prints: what there is to say goes to a `Voice`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from runners.machine.filesystems import check_run_location
from runners.planning.shard import Shard, shard_problems
from runners.session.sweeps import knowing_runs, mirrored, one_directory, run_dir_of, study_run_dirs, untracked
from search_space import SpecError, SweepFile

if TYPE_CHECKING:
    from rich.console import Console

    from runners.driver.changed_records import Changed
    from runners.planning.plan import Plan
    from runners.run_sweep import SweepOutcome

__all__ = ["Prepared", "RunOptions", "Started", "Voice", "prepared", "started_runs"]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How sweeps are run; nothing in it is part of a trial's identity.

    Attributes:
        out: run directory; None: `runs/NAME` or `runs/NAME-PROFILE`.
        retry: statuses that run again.
        limit: start at most this many trainings, of all studies together.
        cache: folder of the trial cache; None: the user's own.
        shard: train this share of the trials, in a run directory of its own.
        collect: run directories of this sweep, or folders of them, whose records are taken over.
        optuna_storage: where the run is mirrored as a study, whatever `track` says.
    """

    out: Path | None = None
    engine: str = "ray"
    address: str | None = None
    retry: frozenset[str] = frozenset()
    limit: int | None = None
    cache: Path | None = None
    uses_cache: bool = True
    changed: Changed = "refuse"
    allow_commands: bool = False
    shard: Shard | None = None
    collect: tuple[Path, ...] = ()
    optuna_storage: str | None = None

    def run_dir(self, file: SweepFile) -> Path:
        whole = run_dir_of(file)
        return self.out or (self.shard.run_dir(whole) if self.shard else whole)


@dataclass(frozen=True)
class Voice:
    """Where messages go.

    Attributes:
        say: what takes time or has been found, before and while it runs.
        remark: what a reader of the numbers must know: remarks on the data, dropped variants.
        warn: what may go wrong in this run directory, or is left unused of this machine.
        console: shows the progress of the trials; None for silence.
    """

    say: Callable[[str], None]
    remark: Callable[[str], None]
    warn: Callable[[str], None]
    console: Console | None = None


@dataclass(frozen=True)
class Prepared:
    """Sweeps that can be run, with the run directories of all studies of their file."""

    files: tuple[SweepFile, ...]
    siblings: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Started:
    """A run after its start: the driver has ended, its tables are written."""

    file: SweepFile
    path: Path
    plan: Plan
    outcome: SweepOutcome


def prepared(files: Sequence[SweepFile], options: RunOptions, *, warn: Callable[[str], None]) -> Prepared:
    """The sweeps with what a run adds to them.

    Raises:
        SpecError: one directory for several studies, a missing library of a tracker, no such storage.
    """
    if (options.shard or options.collect) and (problems := [each for file in files for each in shard_problems(file)]):
        raise SpecError(problems)
    if options.shard and (options.optuna_storage is not None or any(file.sweep.track for file in files)):
        files = [untracked(file) for file in files]
        warn("trackers receive the trials of shards once they are collected")
    elif options.optuna_storage is not None:
        files = [mirrored(file, options.optuna_storage) for file in files]
    _check_trackers(files)
    one_directory(files, options.out)
    for file in files:
        if warning := check_run_location(options.run_dir(file)):
            warn(f"warning: {warning}")
    siblings = study_run_dirs(files[0])
    return Prepared(tuple(knowing_runs(file, siblings) for file in files), siblings)


def started_runs(sweeps: Prepared, options: RunOptions, voice: Voice, *, plan: Plan | None = None) -> Iterator[Started]:
    """Run the sweeps one after the other, until one is interrupted or the limit is reached.

    Args:
        plan: of the only sweep, where it has been made already.

    Raises:
        SpecError: a sweep cannot be run (see `make_plan` and `run_sweep`).
    """
    left = options.limit
    for file in sweeps.files:
        started = _start(file, sweeps, options, voice, limit=left, plan=plan)
        yield started
        left = None if left is None else left - started.outcome.started
        if started.outcome.interrupted or (left == 0 and options.limit):
            return


def _start(
    file: SweepFile, sweeps: Prepared, options: RunOptions, voice: Voice, *, limit: int | None, plan: Plan | None
) -> Started:
    # Heavy: torch, timm and Ray.
    from runners.cache.origin import Origins
    from runners.cache.trial_cache import TrialCache, device_of
    from runners.engines import gpus_of_engine
    from runners.machine.user_cache import default_directory
    from runners.planning.make_plan import make_plan
    from runners.run_sweep import run_sweep

    memory = (options.cache or default_directory()) if options.uses_cache else None
    made = plan or make_plan(file, say=voice.say, num_gpus=lambda: gpus_of_engine(options.engine, options.address))
    made = replace(made, shard=options.shard)
    origins = Origins(made.sweep.resources, say=voice.say)
    for note in dict.fromkeys(note for each in made.data() for note in each.notes):
        voice.remark(f"data: {note}")
    for entry in made.dropped:
        voice.remark(f"dropped: {entry.variant.name}: {'; '.join(entry.reasons)}")
    path = options.run_dir(file)
    outcome = run_sweep(
        made,
        path,
        engine=options.engine,
        address=options.address,
        retry=options.retry,
        limit=limit,
        overrides=file.overrides,
        siblings=list(sweeps.siblings.values()),
        collect=options.collect,
        cache=TrialCache(memory.resolve(), device_of(made), origins) if memory else None,
        changed=options.changed,
        allow_commands=options.allow_commands,
        console=voice.console,
    )
    return Started(file, path, made, outcome)


def _check_trackers(files: Sequence[SweepFile]) -> None:
    """Raises SpecError where a library is missing that `track` needs."""
    if any(file.sweep.track for file in files):
        from runners.trackers import library_problems

        if problems := [problem for file in files for problem in library_problems(file)]:
            raise SpecError(dict.fromkeys(problems))
