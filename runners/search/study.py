"""Optuna study of a search: proposes variants and receives their results.

The study is in memory and is a view: it is rebuilt at every start by replaying the ledger, so a resumed search neither
repeats nor forgets a trial. A proposal is written to `suggestions.jsonl` before its first trial starts; one that was
being trained when the driver died is repeated under its number.

A sampler draws proposal n with a seed derived from (search.seed, n) instead of from one stream, because a stream
restarts with the process and would propose the first points a second time.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from results.store.run_layout import RunDir
from runners.search.optuna_factory import check_objectives, check_space, derived_seed, make_sampler, no_traceback_of
from runners.search.pruning import make_study, sweep_pruner
from runners.search.suggestion_log import Suggestions
from runners.search.warm_start import warm_trials
from runners.trials.objectives import directions
from runners.trials.proposal import Proposal, ProposalResult
from search_space import InvalidVariant, Sweep, Variant, baseline_params, suggest

__all__ = ["Study"]

# QMC iterates over one sequence: its seed scrambles the whole sequence and must be the same for all proposals.
_ONE_SEED = {"qmc", "QMCSampler"}
_REQUIREMENTS = "requirements"  # a constraint in Optuna's sense: broken above zero
_STATES = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


class Study:
    """Proposals of one search.

    Args:
        run_dir: where the suggestions are logged; None for a dry run in memory.

    Raises:
        SpecError: options that Optuna refuses, at once or at work, or a warm-start run that cannot be used.
    """

    def __init__(self, sweep: Sweep, run_dir: RunDir | None) -> None:
        assert sweep.search is not None
        self._sweep = sweep
        self._search = sweep.search
        self._suggestions = Suggestions(run_dir)
        self._waiting: list[Proposal] = []
        self._open: dict[int, optuna.Trial] = {}
        self._next_number = 0
        # Samplers with constraints need the same constraints in every trial.
        self._is_constrained = bool(sweep.require)
        self._directions = directions(sweep)
        self.exhausted = False
        check_objectives(sweep.search.sampler, len(self._directions))
        check_space(sweep.search.sampler, sweep.space)
        make_sampler(sweep.search.sampler, sweep.search.options, seed=0)  # refuse bad options before any training
        self._study = make_study(sweep, self._directions, sweep_pruner(sweep) if self.is_pruned_by_epoch else None)
        # BruteForceSampler calls stop() after the last combination; outside optimize() that would raise.
        self._study.stop = self._mark_exhausted  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def is_pruned_by_epoch(self) -> bool:
        """Whether a pruner over epochs can share this study: Optuna prunes trials with one objective, and a proposal is
        one trial only where it has one seed."""
        prune = self._sweep.prune
        is_one_trial = len(self._directions) == 1 and len(self._sweep.seeds) == 1
        return is_one_trial and prune is not None and not prune.is_over_seeds

    # -- replay ----------------------------------------------------------------

    def replay(self, ending: Callable[[Variant], ProposalResult | None]) -> list[Variant]:
        """Add the results of earlier starts and, with `warm_start`, of earlier runs to the study.

        A suggestion without a result was being trained when the driver died: it is proposed again first. One that no
        longer fits the edited space is left out.

        Args:
            ending: returns the result of a variant's proposal; None if trials of it are still to be trained.

        Returns:
            Variants that were proposed and have ended.
        """
        ended: list[Variant] = []
        for earlier in warm_trials(self._sweep, self._suggestions):
            self._add(ProposalResult("completed", earlier.values), earlier.params, {})
        stored = self._suggestions.proposed
        for number, suggestion in enumerate(stored):
            params = suggestion.params
            variant, distributions = self.variant_of(params)
            end = ending(variant) if variant else None
            if variant and end is None:
                self._waiting.append(Proposal(number, params, variant))
                continue
            if variant:
                ended.append(variant)
            # One trial for every suggestion: attributes set by samplers refer to other trials by their numbers.
            self._add(end or ProposalResult("infeasible" if distributions else "failed"), params, suggestion.attrs)
        self._next_number = len(stored)
        if not stored and (first := baseline_params(self._sweep)) is not None:
            self._study.enqueue_trial(first)
        return ended

    def variant_of(self, params: Mapping[str, Any]) -> tuple[Variant | None, dict[str, BaseDistribution]]:
        """Variant of a suggestion, and its distributions: None without a valid setting, empty outside of the space."""
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

    def _add(self, end: ProposalResult, params: Mapping[str, Any], attrs: Mapping[str, Any]) -> None:
        """Add an earlier proposal in the state that it had when it ended."""
        _, distributions = self.variant_of(params)
        if not distributions:  # it does not fit the edited space
            self._study.add_trial(optuna.trial.create_trial(state=TrialState.FAIL))
            return
        state, values = self._state_and_values(end)
        steps = dict(end.steps) if len(self._directions) == 1 else {}
        if state == TrialState.PRUNED and steps:
            values = [steps[max(steps)]]  # as Optuna itself does
        trial = optuna.trial.create_trial(
            state=state,
            values=values,
            params=dict(params),
            distributions=dict(distributions),
            intermediate_values=steps,
            system_attrs=dict(attrs),
        )
        self._constrain(trial, end)
        self._study.add_trial(trial)

    # -- search ----------------------------------------------------------------

    def propose(self) -> Proposal:
        """Next suggestion, logged before it is returned; those that a dead driver left unfinished come first."""
        if self._waiting:
            proposal = self._waiting.pop(0)
            self._study.enqueue_trial(dict(proposal.params))
            with self._sampling():
                trial = self._study.ask()
                suggest(self._sweep, trial)
            self._open[proposal.number] = trial
            return proposal
        search, number = self._search, self._next_number
        self._next_number += 1
        seed = search.seed if search.sampler in _ONE_SEED else derived_seed(search.seed, number)
        self._study.sampler = make_sampler(search.sampler, search.options, seed=seed)
        with self._sampling():
            trial = self._study.ask()
        self._open[number] = trial
        try:
            with self._sampling():
                variant, reason = suggest(self._sweep, trial), ""
        except InvalidVariant as err:
            variant, reason = err.variant, err.reason
        self._suggestions.append(
            {"number": number, "params": trial.params, "attrs": dict(self._frozen(trial).system_attrs)}
        )
        return Proposal(number, dict(trial.params), variant, reason)

    @property
    def num_proposed(self) -> int:
        """Suggestions so far, those of earlier starts included."""
        return self._next_number

    def ask_for(self, params: Mapping[str, Any]) -> None:
        """Make these parameters the next suggestion."""
        self._study.enqueue_trial(dict(params))

    def trial_of(self, proposal: Proposal) -> optuna.Trial:
        """Optuna trial of a proposal that has not ended."""
        return self._open[proposal.number]

    def tell(self, proposal: Proposal, end: ProposalResult) -> None:
        """Report the result of a proposal, whether it was trained or not."""
        trial = self._open.pop(proposal.number)
        self._constrain(trial, end)
        if len(self._directions) == 1:
            known = self._frozen(trial).intermediate_values
            for step, value in end.steps.items():
                if step not in known:
                    trial.report(value, step)
        state, values = self._state_and_values(end)
        with self._sampling():
            self._study.tell(trial, values, state=state)

    def _sampling(self) -> AbstractContextManager[None]:
        return no_traceback_of("sampler", self._search.sampler, self._search.options, path="search")

    def _frozen(self, trial: optuna.Trial) -> FrozenTrial:
        """Trial as stored in the study, with the attributes set by its sampler."""
        return self._study.get_trials(deepcopy=False)[trial.number]

    def _state_and_values(self, end: ProposalResult) -> tuple[TrialState, list[float] | None]:
        if any(map(math.isnan, end.values)):
            return TrialState.FAIL, None  # as Optuna itself does
        if end.state != "infeasible":
            return _STATES[end.state], list(end.values) or None
        if not self._is_constrained:
            return TrialState.FAIL, None
        worst = self._worst_values()
        return (TrialState.PRUNED, None) if worst is None else (TrialState.COMPLETE, worst)

    def _constrain(self, trial: optuna.Trial | FrozenTrial, end: ProposalResult) -> None:
        if self._is_constrained and end.state != "failed":
            trial.set_constraint(_REQUIREMENTS, 1.0 if end.state == "infeasible" else -1.0)

    def _worst_values(self) -> list[float] | None:
        """Values reported for an infeasible trial: the worst so far. TPE uses the constraint alone; GP, CMA-ES and the
        genetic samplers use only trials with values, and samplers without constraints learn to avoid the region."""
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        columns = list(zip(*(trial.values for trial in complete), strict=True))
        worst = {"maximize": min, "minimize": max}
        return [worst[way](column) for way, column in zip(self._directions, columns, strict=True)] if columns else None

    def get_trials(self) -> list[FrozenTrial]:
        """Trials of the study (a copy)."""
        return self._study.get_trials(deepcopy=True)

    def _mark_exhausted(self) -> None:
        self.exhausted = True
