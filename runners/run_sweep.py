"""One start of the driver: lock the run, continue its ledger, train what is left, write the tables.

Running the same sweep again continues it; nothing here distinguishes a first start from a later one.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from results import LedgerWriter, ProgressWriter, RecordSummary, write_plan, write_tables
from results.store.run_layout import RunDir
from runners.cache.reuse import RecordLookup, from_siblings, reuse_records
from runners.cache.trial_cache import CacheWriter, TrialCache, leaves_only_records
from runners.display.live import LiveView, TrialLines
from runners.driver.checkpoint_cleanup import CheckpointRemover, remove_checkpoints
from runners.driver.orchestrator import Orchestrator
from runners.driver.progress_file import ProgressFile
from runners.driver.provenance import describe_session, new_session, write_provenance
from runners.driver.retune import stages
from runners.driver.stop_request import StopRequest
from runners.engines import run_trials
from runners.planning.plan import Plan
from runners.trackers.tracking import Tracking
from runners.trials.observer import Observer
from search_space import trial_id
from search_space.parsing.visible import visible

__all__ = ["SweepOutcome", "run_sweep"]

_TRACKERS_AT_THE_END = 60.0  # seconds at most that trackers have to finish
_TRACKERS_ALONE = 3600.0
_TRACKERS_IN_A_HURRY = 5.0


@dataclass(frozen=True)
class SweepOutcome:
    """State of the run after this start of the driver; `counts` are of the present plan, by status. `signal` is what
    interrupted it, if anything did."""

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
    cache: TrialCache | None = None,
    console: Console | None = None,
) -> SweepOutcome:
    """Runs what is left of the plan in `run_dir`.

    Args:
        retry: statuses that run again; `failed` is the only useful one.
        limit: start at most this many trials.
        siblings: run directories of the other studies of the file; trials they completed are taken over.
        cache: the memory across sweeps; it serves nothing where trials leave more than their records.
        console: where to show progress; None for silence.

    Raises:
        SpecError: another driver is at work here, or the engine cannot run these trials.
    """
    files = RunDir(run_dir.resolve())  # workers have other working directories
    session = new_session()
    if cache is not None and not leaves_only_records(plan.sweep):
        cache = None
    kept = CacheWriter(cache, files.path) if cache else None
    interrupted = False
    started = _Started()
    with LedgerWriter(files) as ledger, ProgressWriter(files, ledger.summaries) as progress:
        write_plan(files, plan.as_run_plan())
        stop = StopRequest(
            files,
            session=session,
            grace_seconds=plan.sweep.checkpoints.grace_seconds,
            say=lambda text: None if console is None else console.print(text, markup=False, style="bold"),
        )
        remove_checkpoints(files, ledger.summaries)
        description = describe_session(plan, session=session, engine=engine, address=address, overrides=list(overrides))
        write_provenance(files, description, plan.file.text)
        progress_file = ProgressFile(progress)
        tracking = Tracking(plan.sweep, files, summaries=ledger.summaries, say=_say_to(console))
        orchestrator: Orchestrator | None = None
        is_comparing = False
        try:
            for stage in stages(plan, ledger, retry=retry, session=session):  # one, or those of `retune` before it
                if is_comparing := stage.role == "":
                    plan = stage.plan
                    write_plan(files, plan.as_run_plan())
                lookups: list[RecordLookup] = [from_siblings(siblings, files), *([cache.get] if cache else [])]
                if taken := reuse_records(stage.plan, ledger, lookups, role=stage.role):
                    _report_reused(taken, cache)
                watchers: list[Observer] = [progress_file, started, CheckpointRemover(files), tracking]
                watchers += [kept] if kept else []
                left = None if limit is None else limit - started.count
                orchestrator = Orchestrator(
                    stage.plan,
                    ledger,
                    retry=retry,
                    limit=left,
                    session=session,
                    role=stage.role,
                    observers=watchers,
                    stop=stop,
                    lookup=cache.get if cache else None,
                )
                if orchestrator.num_startable > 0:
                    with _view(console, orchestrator, stage.plan) as view, _capture_ray_output(engine, files):
                        watchers.extend(view)
                        run_trials(engine, orchestrator, run_dir=files, address=address)
                if stop.is_asked and orchestrator.num_remaining:
                    interrupted = True
                    break
        except KeyboardInterrupt:
            interrupted = True
        finally:
            if orchestrator is not None:
                progress_file.stopped(orchestrator.running())  # what has no record now is interrupted, not running
            write_tables(files)
            # A start that trains nothing serves the trackers, which may need a long run from its beginning.
            at_the_end = _TRACKERS_AT_THE_END if started.count else _TRACKERS_ALONE
            tracking.close(patience=_TRACKERS_IN_A_HURRY if interrupted else at_the_end)
        if kept and kept.problem:
            print(f"archsweep: warning: the cache was not written: {kept.problem}", file=sys.stderr)
        assert orchestrator is not None, "a run without a stage"
        ending = {"interrupted": interrupted, "signal": stop.signal or signal.SIGINT}
        if not is_comparing:  # stopped while variants were being tuned
            return SweepOutcome(Counter(), started.count, orchestrator.num_remaining + plan.num_trials, **ending)
        records = _records_of_plan(orchestrator, plan)
        counts = Counter(record.status for record in records)
        return SweepOutcome(counts, started.count, orchestrator.num_remaining, **ending)


def _say_to(console: Console | None) -> Callable[[str], None]:
    errors = sys.stderr  # as it is now: what Ray prints is diverted later

    def say(text: str) -> None:
        line = f"archsweep: {visible(text)}"
        if console is None:
            print(line, file=errors, flush=True)
        else:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    return say


def _report_reused(count: int, cache: TrialCache | None) -> None:
    # Said also by a quiet run: who repeats a sweep to see whether its numbers come out again must not be fooled.
    trials = "1 trial was" if count == 1 else f"{count} trials were"
    where = f"studies of this file or the cache ({cache.directory})" if cache else "studies of this file"
    hint = "; --no-cache trains again" if cache else ""
    print(f"archsweep: {trials} not trained but taken over from {where}{hint}", file=sys.stderr)


class _Started:
    """Observer that counts the trials this session began."""

    def __init__(self) -> None:
        self.count = 0

    def on_trial_start(self, assignment: object) -> None:
        self.count += 1

    def on_trial_placed(self, assignment: object, place: object) -> None: ...
    def on_epoch_end(self, assignment: object, metrics: object) -> None: ...
    def on_trial_end(self, assignment: object, record: object) -> None: ...


def _records_of_plan(orchestrator: Orchestrator, plan: Plan) -> list[RecordSummary]:
    if plan.sweep.search:
        return orchestrator.search_records
    keys = (trial_id(variant.setting.with_seed(seed)) for variant in plan.variants for seed in plan.sweep.seeds)
    return [orchestrator.records[key] for key in keys if key in orchestrator.records]


@contextlib.contextmanager
def _view(console: Console | None, orchestrator: Orchestrator, plan: Plan) -> Iterator[list[Observer]]:
    if console is None:
        yield []
        return
    earlier = {record.trial_id: record for record in _records_of_plan(orchestrator, plan)}
    if not console.is_terminal:
        yield [TrialLines(console, planned=orchestrator.num_planned, earlier=earlier, metric=plan.sweep.metric)]
        return
    with LiveView(
        console, title=plan.sweep.name, planned=orchestrator.num_planned, earlier=earlier, metric=plan.sweep.metric
    ) as view:
        yield [view]


@contextlib.contextmanager
def _capture_ray_output(engine: str, run_dir: RunDir) -> Iterator[None]:
    """Sends what Ray prints into `driver.log`: some of it goes to stdout whatever its settings say."""
    if engine != "ray":
        yield
        return
    with (
        run_dir.driver_log.open("a", encoding="utf-8", buffering=1) as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        yield
    sys.stdout.flush()
