"""Status of a run: counts, running trials, best trial, estimated time left. Needs only the run's files."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from results.plan.datasets import Imported
from results.plan.run_plan import RunPlan
from results.store.driver_lock import Driver
from results.store.progress import UnfinishedTrial
from results.store.record_summary import AnyRecord, RecordSummary
from results.store.records import TrialRecord
from results.store.run import RunView
from results.table.asked.by_results import asks_by_results, num_trials_asked, num_trials_at_most
from results.table.measured import metric_of, selection_metric
from results.table.planned import planned_trials
from search_space.parsing.visible import visible

__all__ = ["BestTrial", "RunStatus", "TuningStatus", "format_status", "run_status"]


@dataclass(frozen=True)
class BestTrial:
    """Completed trial with the best value of the selection metric."""

    variant: str
    seed: int
    metric: str
    value: float


@dataclass(frozen=True)
class TuningStatus:
    """Progress of `retune`, which precedes the comparison.

    Attributes:
        num_planned: upper bound; equal settings of a variant are trained only once.
        num_done: trials that ended, including failed ones.
        is_over: whether the comparison has started.
    """

    num_planned: int
    num_done: int
    num_failed: int
    num_running: int
    is_over: bool


@dataclass(frozen=True)
class RunStatus:
    """Counts of planned trials; with `num_missing` they add up to `num_planned`.

    Trials that tune a variant are counted only in `tuning`.

    Attributes:
        running: running trials, including those that tune a variant; empty without a driver.
        num_preempted: trials that were preempted and will be resumed. Part of `num_missing`.
        num_interrupted: other trials that started and have no result, without a driver. Part of `num_missing`.
        eta_seconds: estimated time until the end, at the rate so far; None where it is unknown.
        tuning: None without `retune`.
        num_at_most: with rounds of seeds, the trials if no row stopped early, and of a path those of the longest one;
            `num_planned` are those that the results so far ask for. None where all are asked for.
    """

    sweep: str
    driver: Driver | None
    num_planned: int
    num_completed: int
    num_pruned: int
    num_failed: int
    num_infeasible: int
    num_missing: int
    num_preempted: int
    num_interrupted: int
    epochs: int | None
    running: tuple[UnfinishedTrial, ...]
    best: BestTrial | None
    eta_seconds: float | None
    torn: bool
    tuning: TuningStatus | None = None
    imported: Imported | None = None
    num_at_most: int | None = None

    @property
    def num_running(self) -> int:
        """Number of planned trials that are running."""
        return len(self.running) - (self.tuning.num_running if self.tuning else 0)

    @property
    def is_finished(self) -> bool:
        """Whether every planned trial has a record."""
        return not self.num_missing and not self.is_tuning

    @property
    def is_tuning(self) -> bool:
        """Whether variants are still being tuned."""
        return self.tuning is not None and not self.tuning.is_over


def run_status(run: RunView[TrialRecord | RecordSummary], *, now: float) -> RunStatus:
    """Compute the status of a run.

    Args:
        now: seconds since 1970, for the estimated time left.
    """
    trials = planned_trials(run.plan, run.deciding.values())
    records = [record for seeds in trials.values() for record in seeds.values()]
    counts = Counter(record.status for record in records)
    running = tuple(trial for trial in run.unfinished if not trial.has_ended) if run.driver else ()
    most: int | None = None
    if run.plan.design == "search":
        # An infeasible proposal needs no training and does not count in the budget.
        spared = _spared(run.plan, trials, running)
        planned = (run.plan.num_trials or 0) + counts["infeasible"] - len(spared)
        planned = max(planned, len(records))  # of a budget that was lowered
    else:
        spared = set[tuple[str, int]]()
        planned = run.plan.num_trials or num_trials_asked(run.plan, trials)  # of a shard, its share
        if asks_by_results(run.plan):
            most = num_trials_at_most(run.plan, trials)
            planned = max(planned, len(records))  # of a plan that had fewer looks
    missing = max(0, planned - len(records))
    tuning = _tuning(run, running)
    to_tune = tuning.num_planned - tuning.num_done if tuning and not tuning.is_over else 0
    waiting = [
        trial
        for trial in run.unfinished
        if (trial.has_ended or not run.driver)
        and not run.tunes_a_variant(trial.seed)
        and (trial.variant, trial.seed) not in spared
    ]
    preempted = {record.trial_id for record in run.records if record.status == "preempted"}
    num_preempted = sum(trial.trial_id in preempted for trial in waiting)
    return RunStatus(
        sweep=run.plan.sweep,
        driver=run.driver,
        num_planned=planned,
        num_completed=counts["completed"],
        num_pruned=counts["pruned"],
        num_failed=counts["failed"],
        num_infeasible=counts["infeasible"],
        num_missing=missing,
        num_preempted=num_preempted,
        num_interrupted=0 if run.driver else len(waiting) - num_preempted,
        epochs=run.plan.epochs,
        running=running,
        # A trial of one block is not better than that of another.
        best=None if run.plan.blocks else _best(run, records),
        eta_seconds=_eta(run, running, missing + to_tune, now) if run.driver else None,
        torn=run.torn,
        tuning=tuning,
        imported=run.plan.imported,
        num_at_most=most,
    )


def _spared(
    plan: RunPlan, trials: Mapping[str, Mapping[int, AnyRecord]], running: tuple[UnfinishedTrial, ...]
) -> set[tuple[str, int]]:
    """Variants and seeds that a search does not train, because another seed of the same proposal failed."""
    failed = [seeds for seeds in trials.values() if any(record.status == "failed" for record in seeds.values())]
    return {
        (next(iter(seeds.values())).variant, seed) for seeds in failed for seed in set(plan.seeds) - seeds.keys()
    } - {(trial.variant, trial.seed) for trial in running}


def _tuning(run: RunView[TrialRecord | RecordSummary], running: tuple[UnfinishedTrial, ...]) -> TuningStatus | None:
    retuned = run.plan.retuned
    if retuned is None:
        return None
    ended = (record for record in run.tuning.values() if run.tunes_a_variant(record.seed))
    done = [record for record in ended if record.status != "infeasible"]  # these needed no training
    num_arms = sum(not variant.dropped for variant in run.plan.variants)
    num_tuning = sum(run.tunes_a_variant(trial.seed) for trial in running)
    return TuningStatus(
        num_planned=num_arms * retuned.num_trials * len(retuned.seeds),
        num_done=len(done),
        num_failed=sum(record.status == "failed" for record in done),
        num_running=num_tuning,
        is_over=bool(planned_trials(run.plan, run.deciding.values())) or len(running) > num_tuning,
    )


def format_status(status: RunStatus) -> str:
    """Status as lines for a terminal."""
    return "\n".join(_lines(status)) + "\n"


def _lines(status: RunStatus) -> Iterator[str]:
    if status.tuning and status.is_tuning:
        yield from _tuning_lines(visible(status.sweep), status.tuning, then=status.num_missing)
    else:
        yield from _comparison_lines(status)
    if status.best:
        best = status.best
        yield f"  best so far: {best.metric} {best.value:.4g}, {visible(best.variant)}, seed {best.seed}"
    yield f"  driver: {status.driver}" if status.driver else f"  driver: none at work{_advice(status)}"
    if status.eta_seconds is not None:
        yield f"  time left: about {_duration(status.eta_seconds)}"
    for trial in status.running:
        of = f"/{status.epochs}" if status.epochs else ""
        where = f", {visible(trial.place)}" if trial.place else ""
        yield f"  running: {visible(trial.variant)}, seed {trial.seed}, epoch {trial.epoch}{of}{where}"
    if status.torn:
        yield "  the ledger ends in a half-written line; the next driver repairs it"


def _share(done: int, planned: int) -> str:
    return f" ({100 * done / planned:.0f} %)" if planned else ""


def _tuning_lines(sweep: str, tuning: TuningStatus, *, then: int) -> Iterator[str]:
    share = _share(tuning.num_done, tuning.num_planned)
    yield f"{sweep}: tuning the variants, {tuning.num_done} of at most {tuning.num_planned} trials done{share}"
    counts = {"failed": tuning.num_failed, "running": tuning.num_running}
    yield "  " + ", ".join(
        [f"{tuning.num_done - tuning.num_failed} completed", *(f"{n} {name}" for name, n in counts.items() if n)]
    )
    yield f"  then {then} {'trial' if then == 1 else 'trials'} to compare them"


def _comparison_lines(status: RunStatus) -> Iterator[str]:
    done = status.num_planned - status.num_missing
    share = _share(done, status.num_planned)
    most = "" if status.num_at_most is None else f"; at most {status.num_at_most}, by what the results say"
    yield f"{visible(status.sweep)}: {done} of {status.num_planned} trials done{share}{most}"
    counts = {
        "completed": status.num_completed,
        "pruned": status.num_pruned,
        "failed": status.num_failed,
        "infeasible": status.num_infeasible,
        "running": status.num_running,
        "preempted": status.num_preempted,
        "interrupted": status.num_interrupted,
        "missing": status.num_missing - status.num_running - status.num_preempted - status.num_interrupted,
    }
    yield "  " + ", ".join(f"{count} {name}" for name, count in counts.items() if count > 0 or name == "completed")
    if status.tuning and status.tuning.num_done:
        yield f"  before: {status.tuning.num_done} trials that tuned the variants"


def _advice(status: RunStatus) -> str:
    if status.imported:
        return f"; imported from {visible(status.imported.source)} ({status.imported.kind})"
    if status.num_missing:
        return "; `archsweep run` with the same sweep continues"
    if status.num_failed:
        return "; `archsweep run --retry failed` with the same sweep runs the failed trials again"
    return ""


def _best(run: RunView[TrialRecord | RecordSummary], records: list[TrialRecord | RecordSummary]) -> BestTrial | None:
    metric = metric_of(run.plan)
    name = selection_metric(metric.name, records)
    values = [
        (record.metrics[name], record)
        for record in records
        if record.status == "completed" and math.isfinite(record.metrics.get(name, math.nan))
    ]
    if not values:
        return None
    sign = -1 if metric.direction == "maximize" else 1
    value, record = min(values, key=lambda pair: (sign * pair[0], pair[1].trial_id))
    return BestTrial(record.variant, record.seed, name, value)


def _eta(
    run: RunView[TrialRecord | RecordSummary], running: tuple[UnfinishedTrial, ...], missing: int, now: float
) -> float | None:
    """Estimated time left: mean duration of ended trials times remaining trials, divided by the number running.

    Until a trial has ended, its duration is estimated as the duration of its latest epoch times its number of epochs.
    """
    started: dict[str, float] = {}
    latest: dict[str, list[float]] = {}  # trial -> when its latest epoch began and ended
    durations: list[float] = []
    for event in run.progress:
        if event.event == "start":
            started[event.trial_id] = event.t
        elif event.event == "end" and event.trial_id in started:
            durations.append(event.t - started.pop(event.trial_id))
        if event.event in ("start", "place"):
            latest[event.trial_id] = [event.t]
        elif event.event == "epoch":
            latest[event.trial_id] = [*latest.get(event.trial_id, [])[-1:], event.t]
    if not durations and run.plan.epochs:
        times = [latest.get(trial.trial_id, []) for trial in running]
        durations = [run.plan.epochs * (found[1] - found[0]) for found in times if len(found) == 2]
    durations = [duration for duration in durations if duration >= 0]  # negative where the clock was set back
    if not durations or not running:
        return None
    mean = math.fsum(durations) / len(durations)
    waiting = max(0, missing - len(running))
    left = waiting * mean + math.fsum(max(0.0, mean - max(0.0, now - trial.started)) for trial in running)
    return left / len(running)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
