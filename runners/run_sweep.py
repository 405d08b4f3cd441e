"""One start of the driver: lock the run, continue its ledger, train what is left, write the tables.

Running the same sweep again continues it; nothing here distinguishes a first start from a later one.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from results import LedgerWriter, ProgressWriter, RecordSummary, write_plan, write_tables
from results.run_files.plugin_sources import write_plugin_sources
from results.store.run import read_plan
from results.store.run_layout import RunDir
from runners.cache.origin import Origins
from runners.cache.reuse import first_found, for_sweep, from_siblings, reuse_records
from runners.cache.trial_cache import CacheWriter, TrialCache, leaves_only_records
from runners.display.live import LiveView, TrialLines, progress_view
from runners.display.notebook import NotebookView
from runners.driver.changed_records import Changed, find_changed_records, write_fingerprints
from runners.driver.checkpoint_cleanup import CheckpointRemover, remove_checkpoints
from runners.driver.collect import collect_records, earlier_plan, run_dirs_in
from runners.driver.later_decisions import LaterDecisions
from runners.driver.orchestrator import Orchestrator
from runners.driver.progress_file import ProgressFile
from runners.driver.provenance import describe_session, new_session, write_provenance
from runners.driver.retune import stages
from runners.driver.stop_request import StopRequest
from runners.engines import run_trials
from runners.forms.decision import with_forms
from runners.machine.node_files import node_files_kept
from runners.planning.plan import Plan
from runners.planning.trainings import num_trials_here
from runners.trackers.tracking import Tracking
from runners.trials.assignment import Assignment
from runners.trials.observer import Observer
from search_space import Problem, SpecError, trial_id
from search_space.parsing.visible import visible
from search_space.plugins import loaded_plugins
from search_space.schema.task import CommandSpec

__all__ = ["SweepOutcome", "run_sweep"]

# Seconds at most that trackers have to finish.
_PATIENCE_AFTER_TRIALS = 60.0
_PATIENCE_WITHOUT_TRIALS = 3600.0
_PATIENCE_AFTER_INTERRUPT = 5.0


@dataclass(frozen=True)
class SweepOutcome:
    """State of the run after this start of the driver.

    Attributes:
        counts: trials of the present plan, by status.
        started: trainings.
        signal: the signal that interrupted it, if one did.
    """

    counts: Counter[str]
    started: int
    remaining: int
    interrupted: bool = False
    signal: int = signal.SIGINT


def run_sweep(
    plan: Plan,
    run_dir: Path,
    *,
    engine: str = "ray",
    address: str | None = None,
    retry: frozenset[str] = frozenset(),
    limit: int | None = None,
    overrides: Sequence[str] = (),
    siblings: Sequence[Path] = (),
    collect: Sequence[Path] = (),
    cache: TrialCache | None = None,
    changed: Changed = "refuse",
    allow_commands: bool = False,
    console: Console | None = None,
) -> SweepOutcome:
    """Run the trials of the plan that `run_dir` has no record of.

    Args:
        retry: statuses that run again; `failed` is the only useful one.
        limit: start at most this many trainings.
        siblings: run directories of the other studies of the file, whose completed trials are reused.
        collect: run directories of this sweep, or folders of them, whose records are taken over.
        changed: what happens to records of other data, code or software: `refuse` a start that would mix them with
            others, `retrain` their trials, `keep` those of other code or software.
        allow_commands: whether programs of the task `command` may run: only the caller can say so, not the sweep.
        cache: the trial cache; it serves nothing where trials leave more than their records.
        console: shows progress; None for silence.

    Raises:
        SpecError: another driver holds the run directory, the engine cannot run these trials, or the start would mix
            records of different data, code or software.
    """
    if not allow_commands:
        _refuse_commands(plan)
    files = RunDir(run_dir.resolve())  # workers have other working directories
    _refuse_imported(files)
    session = new_session()
    if cache is not None and not leaves_only_records(plan.sweep):
        cache = None
    with LedgerWriter(files) as ledger, ProgressWriter(files, ledger.summaries) as progress, node_files_kept():
        # 1. What is planned, and where its numbers come from.
        # Collected records come from shards, which train alone; and what this run has trained, it goes on with.
        plan = with_forms(plan, files, collects=bool(collect))
        origins = cache.origins if cache else Origins(plan.sweep.resources, say=_say_to(console))
        origins.numerics_of = lambda setting: plan.form_of(setting).numerics
        found = find_changed_records(plan, ledger, origins)
        ledger.supersede(found.superseded(changed, files))
        if notice := found.notice(changed):
            _say_to(console)(notice)
        write_fingerprints(files, origins.fingerprints)
        write_plugin_sources(files, loaded_plugins())
        decisions = LaterDecisions(files, ledger)
        elsewhere = None
        if collect:
            others = run_dirs_in(collect)
            taken = collect_records(plan, ledger, others, origins, changed=changed)
            elsewhere = earlier_plan(others)
            if taken.num_taken or taken.num_other or plan.shard is None:
                _say_to(console)(taken.describe(others))
        decisions = LaterDecisions(files, ledger, elsewhere=elsewhere)
        share = None if plan.shard is None else num_trials_here(plan)
        write_plan(
            files,
            decisions.of(
                plan.as_run_plan(num_trials=share, superseded=ledger.superseded), is_final=not plan.sweep.retune
            ),
        )
        remove_checkpoints(files, ledger.summaries)
        description = describe_session(plan, session=session, engine=engine, address=address, overrides=list(overrides))
        write_provenance(files, description, plan.file.text)

        # 2. Who follows the trials.
        stop = StopRequest(
            files,
            session=session,
            grace_seconds=plan.sweep.checkpoints.grace_seconds,
            say=lambda text: None if console is None else console.print(text, markup=False, style="bold"),
        )
        progress_file, started = ProgressFile(progress), _StartedCount()
        tracking = Tracking(plan.sweep, files, summaries=ledger.summaries, say=_say_to(console))
        observers: list[Observer] = [progress_file, started, CheckpointRemover(files), tracking]
        cache_writer = CacheWriter(cache, files.path) if cache else None
        observers += [cache_writer] if cache_writer else []
        orchestrator: Orchestrator | None = None
        is_interrupted = is_comparing = False
        try:
            # 3. One stage of training, or with `retune` those that tune the variants before it.
            for stage in stages(plan, ledger, retry=retry, session=session):
                if is_comparing := stage.role == "":
                    plan = stage.plan
                    write_plan(files, decisions.of(plan.as_run_plan(num_trials=share, superseded=ledger.superseded)))
                cached = for_sweep(cache.get, stage.plan.sweep) if cache else None
                lookups = [for_sweep(from_siblings(siblings, files, origins), stage.plan.sweep)]
                lookups += [cached] if cached else []
                if count := reuse_records(stage.plan, ledger, lookups, role=stage.role):
                    _report_reused(count, cache)
                if stage.plan.sweep.asks_by_results:
                    cached = first_found(lookups)
                followers = [*observers]
                orchestrator = Orchestrator(
                    stage.plan,
                    ledger,
                    retry=retry,
                    limit=None if limit is None else limit - started.count,
                    session=session,
                    role=stage.role,
                    observers=followers,
                    stop=stop,
                    lookup=cached,
                    origins=origins,
                )
                if orchestrator.num_startable > 0:
                    with _view_of(orchestrator, stage.plan, console) as view:
                        followers += [view] if view else []
                        run_trials(engine, orchestrator, run_dir=files, address=address)
                if count := orchestrator.num_taken_over:
                    _report_reused(count, cache)
                if stop.is_asked and orchestrator.num_remaining:
                    is_interrupted = True
                    break
            if is_comparing and orchestrator is not None and orchestrator.is_exhausted:
                # Its budget is larger than its space: the run is complete with fewer trials.
                ended = plan.as_run_plan(num_trials=orchestrator.num_planned, superseded=ledger.superseded)
                write_plan(files, decisions.of(ended))
                _report_end_of_space(plan, orchestrator, console)
        except KeyboardInterrupt:
            is_interrupted = True
        finally:
            # 4. The tables, whatever has happened.
            if orchestrator is not None:
                progress_file.stopped(orchestrator.running())  # a trial without a record is interrupted now
            write_tables(files)
            # A start that trained nothing was for the trackers, which may have to receive the whole run.
            patience = _PATIENCE_AFTER_TRIALS if started.count else _PATIENCE_WITHOUT_TRIALS
            tracking.close(patience=_PATIENCE_AFTER_INTERRUPT if is_interrupted else patience)
        if cache_writer and cache_writer.problem:
            print(f"archsweep: warning: the cache was not written: {cache_writer.problem}", file=sys.stderr)
        assert orchestrator is not None, "a run without a stage"
        # Stopped while variants were being tuned, the comparison is still to be done.
        records = _records_of_plan(orchestrator, plan) if is_comparing else []
        remaining = orchestrator.num_remaining + (0 if is_comparing else plan.num_trials)
        counts = Counter(record.status for record in records)
        return SweepOutcome(counts, started.count, remaining, is_interrupted, stop.signal or signal.SIGINT)


def _refuse_imported(files: RunDir) -> None:
    """Raises SpecError where the run directory holds runs that another program trained."""
    if files.plan.is_file() and read_plan(files).imported is not None:
        text = "its runs are imported: there is no sweep that could continue them"
        raise SpecError(Problem(text, where=str(files), hint="run the sweep in another directory: --out DIR"))


def _refuse_commands(plan: Plan) -> None:
    """Raises SpecError where the sweep would start a program."""
    task = plan.sweep.baseline.task
    if isinstance(task, CommandSpec):
        text = f"the sweep would start a program on this machine: {shlex.join(task.argv)}"
        hint = "if you trust it: --allow-commands (in Python allow_commands=True)"
        raise SpecError(plan.file.problem("baseline.task.argv", text, hint))


def _say_to(console: Console | None) -> Callable[[str], None]:
    errors = sys.stderr  # as it is now: Ray's output is redirected later

    def say(text: str) -> None:
        line = f"archsweep: {visible(text)}"
        if console is None:
            print(line, file=errors, flush=True)
        else:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    return say


def _report_reused(count: int, cache: TrialCache | None) -> None:
    # Printed also by a quiet run: a user who repeats a sweep to check its numbers must see it.
    trials = "1 trial was" if count == 1 else f"{count} trials were"
    where = f"studies of this file or the cache ({cache.directory})" if cache else "studies of this file"
    hint = "; --no-cache trains again" if cache else ""
    print(f"archsweep: {trials} not trained but taken over from {where}{hint}", file=sys.stderr)


def _report_end_of_space(plan: Plan, orchestrator: Orchestrator, console: Console | None) -> None:
    assert plan.sweep.search is not None
    num_settings = orchestrator.num_planned // len(plan.sweep.seeds)
    variants = "1 variant" if num_settings == 1 else f"{num_settings} variants"
    text = f"the space has only {variants} to train, so the search is complete before num_trials"
    _say_to(console)(f"{text}={plan.sweep.search.num_trials}")


class _StartedCount:
    """Observer that counts the trainings that this session started."""

    def __init__(self) -> None:
        self.count = 0

    def on_trial_start(self, assignment: Assignment) -> None:
        self.count += not assignment.trained_by

    def on_trial_placed(self, assignment: object, place: object) -> None: ...
    def on_epoch_end(self, assignment: object, metrics: object) -> None: ...
    def on_trial_end(self, assignment: object, record: object) -> None: ...


def _records_of_plan(orchestrator: Orchestrator, plan: Plan) -> list[RecordSummary]:
    if plan.sweep.search:
        return orchestrator.search_records
    keys = (trial_id(variant.setting.with_seed(seed)) for variant in plan.variants for seed in plan.sweep.seeds)
    return [orchestrator.records[key] for key in keys if key in orchestrator.records]


def _view_of(
    orchestrator: Orchestrator, plan: Plan, console: Console | None
) -> AbstractContextManager[LiveView | NotebookView | TrialLines | None]:
    if console is None:
        return nullcontext()
    earlier = {record.trial_id: record for record in _records_of_plan(orchestrator, plan)}
    return progress_view(
        console,
        title=plan.sweep.name,
        planned=lambda: orchestrator.num_planned,
        earlier=earlier,
        metric=plan.sweep.metric,
    )
