"""Pruning of a sweep by Optuna's pruners: of trials by their curves, or of variants by their seeds.

Over epochs, every trial is one Optuna trial and its steps are epochs. Over seeds, every variant is one Optuna trial:
after each seed it is compared with the variants that have finished the same seeds, so that the effect of a seed is
common to all of them, and a variant that is pruned gets no further seed. `wilcoxon` tests the seeds one by one, other
pruners use the mean over the first 1, 2, 3, ... seeds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from results.store.records import TrialRecord
from runners.search.optuna_factory import make_pruner, no_traceback_of
from runners.trials.assignment import Assignment
from runners.trials.objectives import objective
from runners.trials.proposal import Proposal
from search_space import Direction, Sweep, direction_of

__all__ = ["EpochPruning", "Pruning", "SeedPruning", "make_study", "pruning_guard", "sweep_pruner"]

optuna.logging.set_verbosity(optuna.logging.ERROR)
# Rungs are stored in the trials' attributes, so the replay must run these pruners on old trials in order.
_WITH_RUNGS = (optuna.pruners.SuccessiveHalvingPruner, optuna.pruners.HyperbandPruner)


class Pruning(Protocol):
    """Interface between orchestrator and pruner."""

    def start(self, assignment: Assignment) -> None: ...

    def report(self, key: str, epoch: int, value: float) -> bool:
        """Report an epoch of a running trial; True if the trial should stop."""
        ...

    def finish(self, record: TrialRecord) -> None:
        """Report the end of a trial: completed, pruned or failed."""
        ...

    def has_given_up(self, variant_id: str) -> bool:
        """Whether the variant is pruned, so that no further seed of it is trained."""
        ...


def sweep_pruner(sweep: Sweep) -> optuna.pruners.BasePruner:
    """Pruner of the sweep; Optuna's NopPruner where it has none."""
    return make_pruner(sweep.prune.pruner, sweep.prune.options) if sweep.prune else optuna.pruners.NopPruner()


def make_study(
    sweep: Sweep, directions: list[Direction], pruner: optuna.pruners.BasePruner | None = None
) -> optuna.Study:
    """Create an in-memory study: a view of the ledger that is never stored."""
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
    """Pruning of trials by their curves.

    Args:
        shared: returns the Optuna trial of a proposal, where the search's sampler and the pruner use one study
            (Hyperband's brackets, TPE's use of pruned trials); the search then reports the end of the trial.
    """

    def __init__(self, sweep: Sweep, *, shared: Callable[[Proposal], optuna.Trial] | None = None) -> None:
        self._sweep = sweep
        self._shared = shared
        self._running: dict[str, _Running] = {}
        self._study = make_study(sweep, [direction_of(sweep.metric)], sweep_pruner(sweep))

    def replay(self, records: Iterable[TrialRecord]) -> None:
        """Add the curves of earlier trials to the study."""
        for record in records:
            if record.curve and record.status in ("completed", "pruned"):
                self._study.add_trial(frozen_curve(record, self._sweep.metric))

    def start(self, assignment: Assignment) -> None:
        """Start a trial; after a lost worker it keeps the epochs that it has already reported."""
        if assignment.trial_id not in self._running:
            proposal = assignment.proposal
            with pruning_guard(self._sweep):
                trial = self._shared(proposal) if self._shared and proposal else self._study.ask()
            self._running[assignment.trial_id] = _Running(trial)

    def report(self, key: str, epoch: int, value: float) -> bool:
        running = self._running[key]
        with pruning_guard(self._sweep):
            if epoch not in running.epochs:  # a retried trial repeats epochs that Optuna already has
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
        with pruning_guard(self._sweep):
            self._study.tell(trial, value, state=state)

    def has_given_up(self, variant_id: str) -> bool:
        return False


class SeedPruning:
    """Pruning of variants by their finished seeds, evaluated whenever a seed is finished."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._pruner = sweep_pruner(sweep)
        self._values: dict[str, dict[int, float]] = {}  # variant -> seed -> value, in the order of completion
        self._attrs: dict[str, dict[str, Any]] = {}  # variant -> system attributes that the pruner has set
        self._given_up: set[str] = set()

    def replay(self, records: Iterable[TrialRecord]) -> None:
        """Replay earlier trials for the pruner, in the order of the ledger."""
        for record in records:
            if record.status == "pruned":
                self._given_up.add(record.variant_id)
            elif record.status == "completed" and (value := objective(record.metrics, self._sweep.metric)) is not None:
                self._values.setdefault(record.variant_id, {})[record.seed] = value
                if isinstance(self._pruner, _WITH_RUNGS):
                    self._should_prune(record.variant_id)

    def start(self, assignment: Assignment) -> None: ...

    def report(self, key: str, epoch: int, value: float) -> bool:
        return False

    def finish(self, record: TrialRecord) -> None:
        value = objective(record.metrics, self._sweep.metric) if record.status == "completed" else None
        if value is not None and self.add_seed(record.variant_id, record.seed, value):
            self._given_up.add(record.variant_id)

    def add_seed(self, variant_id: str, seed: int, value: float) -> bool:
        """Add the value of a finished seed; whether the pruner gives its variant up."""
        self._values.setdefault(variant_id, {})[seed] = value
        return self._should_prune(variant_id)

    def has_given_up(self, variant_id: str) -> bool:
        return variant_id in self._given_up

    def _should_prune(self, variant_id: str) -> bool:
        """Decision of the pruner on the variant, compared with those that have finished the same seeds."""
        direction = direction_of(self._sweep.metric)
        mine = self._values[variant_id]
        study = make_study(self._sweep, [direction])
        for other, values in self._values.items():  # every variant keeps its number, which Hyperband uses
            is_paired = mine.keys() <= values.keys()
            seeds = [seed for seed in self._sweep.seeds if seed in mine and is_paired]
            state = TrialState.COMPLETE if is_paired else TrialState.FAIL
            state = TrialState.RUNNING if other == variant_id else state
            study.add_trial(
                optuna.trial.create_trial(
                    state=state,
                    value=statistics.fmean(values[seed] for seed in seeds) if state == TrialState.COMPLETE else None,
                    intermediate_values=self._steps([values[seed] for seed in seeds]),
                    system_attrs=self._attrs.get(other, {}),
                )
            )
        number = list(self._values).index(variant_id)
        with pruning_guard(self._sweep):
            is_pruned = self._pruner.prune(study, study.get_trials(deepcopy=False)[number])
        self._attrs[variant_id] = study.get_trials(deepcopy=False)[number].system_attrs
        return is_pruned

    def _steps(self, values: list[float]) -> dict[int, float]:
        assert self._sweep.prune is not None
        if self._sweep.prune.is_paired_test:
            return dict(enumerate(values, start=1))
        return {number: statistics.fmean(values[:number]) for number in range(1, len(values) + 1)}


def pruning_guard(sweep: Sweep) -> AbstractContextManager[None]:
    """Context in which an exception of the sweep's pruner becomes a message."""
    name, options = (sweep.prune.pruner, sweep.prune.options) if sweep.prune else ("none", {})
    return no_traceback_of("pruner", name, options, path="prune")


def frozen_curve(
    record: TrialRecord,
    metric: str,
    *,
    params: Mapping[str, Any] | None = None,
    distributions: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> FrozenTrial:
    """Finished trial as an Optuna FrozenTrial: its curve, its state, and its value."""
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
