"""The Optuna study of a run: it proposes the trials of a search and decides which trials of any design to prune.

The study lives in memory and is a view: it is rebuilt at every start by replaying the ledger, so a resumed search
neither repeats nor forgets a trial and its pruner knows the old curves. What a search proposed is written to
`suggestions.jsonl` before the trial starts; a trial that was running when the driver died is proposed again under its
number.

A sampler draws trial n with a seed derived from (search.seed, n) instead of from one stream, because a stream restarts
with the process and would propose the first points a second time.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from results.heads import Head
from results.records import TrialRecord
from runners.optuna_names import make_pruner, make_sampler
from runners.suggestions import append_suggestion, read_suggestions
from search_space import METRICS, InvalidVariant, Sweep, Variant, baseline_params, suggest

__all__ = ["Proposal", "Study", "objective"]

optuna.logging.set_verbosity(optuna.logging.ERROR)
# QMC walks along one sequence: its seed scrambles the whole sequence and must stay the same for all trials.
_ONE_SEED = {"qmc", "QMCSampler"}
_REQUIREMENTS = "requirements"  # a constraint in Optuna's sense: broken above zero


@dataclass(frozen=True)
class Proposal:
    """What a search proposes next. `reason` says why it must not be trained; then even `variant` may be missing."""

    number: int
    params: Mapping[str, Any]
    variant: Variant | None
    reason: str = ""


@dataclass
class _Running:
    trial: optuna.Trial
    epochs: set[int] = field(default_factory=set)


def objective(metrics: Mapping[str, float], metric: str) -> float | None:
    """The value searches and pruners look at: the metric on the validation split where there is one."""
    return metrics.get(f"val_{metric}", metrics.get(metric))


class Study:
    """Proposals and pruning decisions for one sweep. Trials are named by the driver's keys (trial ids)."""

    def __init__(self, sweep: Sweep, run_dir: Path) -> None:
        self._sweep = sweep
        self._path = run_dir / "suggestions.jsonl"
        self._running: dict[str, _Running] = {}
        self._waiting: list[Proposal] = []
        self._open: dict[int, optuna.Trial] = {}
        self._next_number = 0
        # Samplers that know constraints want the same ones of every trial.
        self._is_constrained = sweep.search is not None and bool(sweep.require)
        self.exhausted = False
        pruner = make_pruner(sweep.prune.pruner, sweep.prune.options) if sweep.prune else optuna.pruners.NopPruner()
        if sweep.search:
            make_sampler(sweep.search.sampler, sweep.search.options, seed=0)  # refuse bad options before anything runs
        # Hyperband hashes the study's name: a fixed name makes its brackets reproducible.
        self._study = optuna.create_study(
            study_name=sweep.name,
            direction=METRICS[sweep.metric].direction,
            pruner=pruner,
            sampler=optuna.samplers.RandomSampler(seed=0),
        )
        # BruteForceSampler calls stop() when every combination has been seen; outside optimize() that would raise.
        self._study.stop = self._mark_exhausted  # pyright: ignore[reportAttributeAccessIssue]

    # -- replay ----------------------------------------------------------------

    def replay_fixed(self, records: Iterable[TrialRecord]) -> None:
        """Shows the pruner the curves of earlier trials of a fixed design."""
        for record in records:
            if record.status in ("completed", "pruned"):
                self._study.add_trial(self._frozen(record, {}, {}, {}))

    def replay_search(
        self, decisive: Mapping[str, TrialRecord], *, trial_id_of: Callable[[Variant], str], again: frozenset[str]
    ) -> dict[str, TrialRecord]:
        """Feeds every earlier suggestion with its outcome to the study; returns those records by trial id.

        A suggestion without an outcome was running when the driver died: it is proposed again first. One that no longer
        fits the edited space is left out.

        Args:
            decisive: the deciding record of each trial id.
            trial_id_of: trial id of a variant under the present sweep.
            again: trial ids that will run again (`--retry failed`).
        """
        seen: dict[str, TrialRecord] = {}
        stored = read_suggestions(self._path)
        for number, suggestion in enumerate(stored):
            variant, distributions = self._variant_of(suggestion["params"])
            key = trial_id_of(variant) if variant else ""
            record = decisive.get(key)
            if variant and (record is None or key in again):
                self._waiting.append(Proposal(number, suggestion["params"], variant))
                continue
            if record is not None:
                seen[key] = record
            # One trial for every suggestion: what samplers note in a trial speaks of others by their numbers.
            attrs = suggestion.get("attrs", {})
            self._study.add_trial(self._replayed(record, suggestion["params"], distributions, attrs))
        self._next_number = len(stored)
        if not stored and (first := baseline_params(self._sweep)) is not None:
            self._study.enqueue_trial(first)
        return seen

    def _variant_of(self, params: Mapping[str, Any]) -> tuple[Variant | None, dict[str, BaseDistribution]]:
        fixed = optuna.trial.FixedTrial(dict(params))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # Optuna only warns of a value outside its range
                variant = suggest(self._sweep, fixed)
        except InvalidVariant as err:
            variant = err.variant
        except (ValueError, UserWarning):
            return None, {}
        return variant, fixed.distributions

    def _replayed(
        self,
        record: TrialRecord | None,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        attrs: Mapping[str, Any],
    ) -> FrozenTrial:
        """An earlier suggestion as it stood in the study when its trial ended; without a record it made no variant."""
        if record is None and not distributions:  # it does not fit the edited space
            return optuna.trial.create_trial(state=TrialState.FAIL)
        is_infeasible = record is None or record.status == "infeasible"
        if is_infeasible and self._is_constrained:
            return _infeasible_trial(params, distributions, attrs, self._worst_value())
        if record is not None and record.status in ("completed", "pruned"):
            trial = self._frozen(record, params, distributions, attrs)
            self._mark_feasible(trial)
            return trial
        return optuna.trial.create_trial(
            state=TrialState.FAIL, params=dict(params), distributions=dict(distributions), system_attrs=dict(attrs)
        )

    def _frozen(
        self,
        record: TrialRecord,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        attrs: Mapping[str, Any],
    ) -> FrozenTrial:
        curve = {int(point["epoch"]): objective(point, self._sweep.metric) for point in record.curve}
        steps = {epoch: value for epoch, value in curve.items() if value is not None}
        completed = record.status == "completed"
        return optuna.trial.create_trial(
            state=TrialState.COMPLETE if completed else TrialState.PRUNED,
            value=objective(record.metrics, self._sweep.metric)
            if completed
            else (steps[max(steps)] if steps else None),
            params=dict(params),
            distributions=dict(distributions),
            intermediate_values=steps,
            system_attrs=dict(attrs),
        )

    # -- search ----------------------------------------------------------------

    def propose(self) -> Proposal:
        """The next suggestion, written down before it is returned; what a dead driver left running comes first."""
        if self._waiting:
            proposal = self._waiting.pop(0)
            self._study.enqueue_trial(dict(proposal.params))
            trial = self._study.ask()
            suggest(self._sweep, trial)
            self._open[proposal.number] = trial
            return proposal
        search = self._sweep.search
        assert search is not None
        number = self._next_number
        self._next_number += 1
        seed = search.seed if search.sampler in _ONE_SEED else _derived_seed(search.seed, number)
        self._study.sampler = make_sampler(search.sampler, search.options, seed=seed)
        trial = self._study.ask()
        self._open[number] = trial
        try:
            variant, reason = suggest(self._sweep, trial), ""
        except InvalidVariant as err:
            variant, reason = err.variant, err.reason
        append_suggestion(self._path, {"number": number, "params": trial.params, "attrs": self._noted(trial.number)})
        return Proposal(number, dict(trial.params), variant, reason)

    def _noted(self, number: int) -> dict[str, Any]:
        """What the sampler wrote into its latest trial, for itself."""
        trial = self._study.get_trials(deepcopy=False)[number]
        return dict(trial.system_attrs)

    def reject(self, proposal: Proposal, *, is_infeasible: bool) -> None:
        """The proposal will not be trained.

        Args:
            is_infeasible: no legal variant, or an unmet requirement: the sampler learns that it is no good region. Else
                the variant is being trained already, which says nothing about it.
        """
        trial = self._open.pop(proposal.number)
        if not (is_infeasible and self._is_constrained):
            self._study.tell(trial, state=TrialState.FAIL)
            return
        trial.set_constraint(_REQUIREMENTS, 1.0)
        value = self._worst_value()
        self._study.tell(trial, value, state=TrialState.PRUNED if value is None else TrialState.COMPLETE)

    def _mark_feasible(self, trial: optuna.Trial | FrozenTrial) -> None:
        if self._is_constrained:
            trial.set_constraint(_REQUIREMENTS, -1.0)

    def _worst_value(self) -> float | None:
        """What an infeasible trial is told to be worth. TPE goes by the constraint alone; GP, CMA-ES and the genetic
        samplers look at trials with a value only, and those without any idea of constraints learn to stay away."""
        values = [trial.value for trial in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
        known = [value for value in values if value is not None]
        worst = min if METRICS[self._sweep.metric].direction == "maximize" else max
        return worst(known) if known else None

    def answer_from(self, proposal: Proposal, record: TrialRecord | Head) -> None:
        """The proposal repeats a finished trial: its known outcome is told again, nothing is trained."""
        if record.status == "infeasible":
            self.reject(proposal, is_infeasible=True)
        elif record.status == "completed":
            trial = self._open.pop(proposal.number)
            self._mark_feasible(trial)
            self._study.tell(trial, objective(record.metrics, self._sweep.metric))
        else:
            self._study.tell(self._open.pop(proposal.number), state=TrialState.FAIL)

    # -- pruning ---------------------------------------------------------------

    def start(self, key: str, proposal: Proposal | None = None) -> None:
        """A trial begins (or begins again after its worker was lost: what it reported before stays known)."""
        if key not in self._running:
            self._running[key] = _Running(self._open.pop(proposal.number) if proposal else self._study.ask())

    def report(self, key: str, epoch: int, value: float) -> bool:
        """Notes an epoch of a running trial; True if the pruner wants the trial stopped."""
        running = self._running[key]
        if epoch not in running.epochs:  # a retried trial replays epochs that Optuna has already seen
            running.epochs.add(epoch)
            running.trial.report(value, step=epoch)
        return running.trial.should_prune()

    def finish(self, key: str, record: TrialRecord) -> None:
        """A trial ended: completed, pruned or failed."""
        trial = self._running.pop(key).trial
        self._mark_feasible(trial)
        if record.status == "completed":
            self._study.tell(trial, objective(record.metrics, self._sweep.metric))
        elif record.status == "pruned":
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, state=TrialState.FAIL)

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """The study's trials, replayed ones included (a copy)."""
        return self._study.get_trials(deepcopy=True)

    def _mark_exhausted(self) -> None:
        self.exhausted = True


def _infeasible_trial(
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    attrs: Mapping[str, Any],
    value: float | None,
) -> FrozenTrial:
    trial = optuna.trial.create_trial(
        state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
        value=value,
        params=dict(params),
        distributions=dict(distributions),
        system_attrs=dict(attrs),
    )
    trial.set_constraint(_REQUIREMENTS, 1.0)
    return trial


def _derived_seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:4], "big") % (2**31)
