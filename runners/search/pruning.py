"""Who is stopped early: the pruner of a sweep over the curves of trials, or over the seeds of variants.

Over epochs, every trial is one Optuna trial and its steps are epochs. Over seeds, every variant is one: after each seed
it is compared with the variants that have finished the same seeds, so that what differs between seeds differs for all
of them, and one that the pruner gives up gets no further seed. `wilcoxon` looks at the seeds one by one, other pruners
at the mean over the first 1, 2, 3, ... seeds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from results.store.records import TrialRecord
from runners.search.optuna_factory import make_pruner
from runners.trials.assignment import Assignment
from runners.trials.objectives import objective
from runners.trials.proposal import Proposal
from search_space import Direction, Sweep, direction_of

__all__ = ["EpochPruning", "Pruning", "SeedPruning", "make_study", "sweep_pruner"]

optuna.logging.set_verbosity(optuna.logging.ERROR)
# Rungs are noted in the trials themselves, so these pruners have to meet old trials again in their order.
_WITH_RUNGS = (optuna.pruners.SuccessiveHalvingPruner, optuna.pruners.HyperbandPruner)


class Pruning(Protocol):
    """What the orchestrator asks about running trials."""

    def start(self, assignment: Assignment) -> None: ...

    def report(self, key: str, epoch: int, value: float) -> bool:
        """Notes an epoch of a running trial; True if the trial should stop."""
        ...

    def finish(self, record: TrialRecord) -> None:
        """A trial ended: completed, pruned or failed."""
        ...

    def has_given_up(self, variant_id: str) -> bool:
        """Whether no further seed of the variant is to be trained."""
        ...


def sweep_pruner(sweep: Sweep) -> optuna.pruners.BasePruner:
    """The pruner of the sweep; one that never prunes where it has none."""
    return make_pruner(sweep.prune.pruner, sweep.prune.options) if sweep.prune else optuna.pruners.NopPruner()


def make_study(
    sweep: Sweep, directions: list[Direction], pruner: optuna.pruners.BasePruner | None = None
) -> optuna.Study:
    """A study in memory: a view of the ledger, never kept."""
    # Hyperband hashes the study's name: a fixed name makes its brackets reproducible.
    return optuna.create_study(
        study_name=sweep.name,
        directions=directions,
        pruner=pruner or optuna.pruners.NopPruner(),
        sampler=optuna.samplers.RandomSampler(seed=0),
    )


@dataclass
class _Running:
    trial: optuna.Trial
    epochs: set[int] = field(default_factory=set)


class EpochPruning:
    """Judges trials by their curves.

    Args:
        shared: the Optuna trial that a search has for a proposal, where its sampler and the pruner look at the same
            study (Hyperband's brackets, TPE's use of pruned trials); the search then tells how the trial ended.
    """

    def __init__(self, sweep: Sweep, *, shared: Callable[[Proposal], optuna.Trial] | None = None) -> None:
        self._sweep = sweep
        self._shared = shared
        self._running: dict[str, _Running] = {}
        self._study = make_study(sweep, [direction_of(sweep.metric)], sweep_pruner(sweep))

    def replay(self, records: Iterable[TrialRecord]) -> None:
        """Shows the pruner the curves of earlier trials."""
        for record in records:
            if record.curve and record.status in ("completed", "pruned"):
                self._study.add_trial(frozen_curve(record, self._sweep.metric))

    def start(self, assignment: Assignment) -> None:
        """A trial begins (or begins again after its worker was lost: what it reported before stays known)."""
        if assignment.trial_id not in self._running:
            proposal = assignment.proposal
            trial = self._shared(proposal) if self._shared and proposal else self._study.ask()
            self._running[assignment.trial_id] = _Running(trial)

    def report(self, key: str, epoch: int, value: float) -> bool:
        running = self._running[key]
        if epoch not in running.epochs:  # a retried trial replays epochs that Optuna has already seen
            running.epochs.add(epoch)
            running.trial.report(value, step=epoch)
        return running.trial.should_prune()

    def finish(self, record: TrialRecord) -> None:
        trial = self._running.pop(record.trial_id).trial
        if self._shared:
            return
        states = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
        state = states.get(record.status, TrialState.FAIL)
        value = objective(record.metrics, self._sweep.metric) if state == TrialState.COMPLETE else None
        self._study.tell(trial, value, state=state)

    def has_given_up(self, variant_id: str) -> bool:
        return False


class SeedPruning:
    """Judges variants by the seeds they have finished, whenever one of them finishes one."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._pruner = sweep_pruner(sweep)
        self._values: dict[str, dict[int, float]] = {}  # variant -> seed -> value, in the order of their ends
        self._notes: dict[str, dict[str, Any]] = {}  # variant -> what the pruner noted of it
        self._given_up: set[str] = set()

    def replay(self, records: Iterable[TrialRecord]) -> None:
        """Shows the pruner the earlier trials, in the order of the ledger."""
        for record in records:
            if record.status == "pruned":
                self._given_up.add(record.variant_id)
            elif self._note(record) and isinstance(self._pruner, _WITH_RUNGS):
                self._judge(record.variant_id)

    def start(self, assignment: Assignment) -> None: ...

    def report(self, key: str, epoch: int, value: float) -> bool:
        return False

    def finish(self, record: TrialRecord) -> None:
        if self._note(record) and self._judge(record.variant_id):
            self._given_up.add(record.variant_id)

    def has_given_up(self, variant_id: str) -> bool:
        return variant_id in self._given_up

    def _note(self, record: TrialRecord) -> bool:
        value = objective(record.metrics, self._sweep.metric)
        if record.status != "completed" or value is None:
            return False
        self._values.setdefault(record.variant_id, {})[record.seed] = value
        return True

    def _judge(self, variant_id: str) -> bool:
        """Whether the pruner gives the variant up, seen beside those that have finished the same seeds."""
        direction = direction_of(self._sweep.metric)
        mine = self._values[variant_id]
        study = make_study(self._sweep, [direction])
        for other, values in self._values.items():  # every variant keeps its number: Hyperband goes by it
            is_paired = mine.keys() <= values.keys()
            seeds = [seed for seed in self._sweep.seeds if seed in mine and is_paired]
            state = TrialState.COMPLETE if is_paired else TrialState.FAIL
            state = TrialState.RUNNING if other == variant_id else state
            study.add_trial(
                optuna.trial.create_trial(
                    state=state,
                    value=statistics.fmean(values[seed] for seed in seeds) if state == TrialState.COMPLETE else None,
                    intermediate_values=self._steps([values[seed] for seed in seeds]),
                    system_attrs=self._notes.get(other, {}),
                )
            )
        number = list(self._values).index(variant_id)
        wants_stop = self._pruner.prune(study, study.get_trials(deepcopy=False)[number])
        self._notes[variant_id] = study.get_trials(deepcopy=False)[number].system_attrs
        return wants_stop

    def _steps(self, values: list[float]) -> dict[int, float]:
        assert self._sweep.prune is not None
        if self._sweep.prune.is_paired_test:
            return dict(enumerate(values, start=1))
        return {number: statistics.fmean(values[:number]) for number in range(1, len(values) + 1)}


def frozen_curve(
    record: TrialRecord,
    metric: str,
    *,
    params: Mapping[str, Any] | None = None,
    distributions: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> FrozenTrial:
    """A finished trial as Optuna would have kept it: its curve, and its value or that it was pruned."""
    curve = {int(point["epoch"]): objective(point, metric) for point in record.curve}
    steps = {epoch: value for epoch, value in curve.items() if value is not None}
    is_complete = record.status == "completed"
    last = steps[max(steps)] if steps else None
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE if is_complete else TrialState.PRUNED,
        value=objective(record.metrics, metric) if is_complete else last,
        params=dict(params or {}),
        distributions=dict(distributions or {}),
        intermediate_values=steps,
        system_attrs=dict(attrs or {}),
    )
