"""Dry run of a sweep's sampler and pruner: over its own space, in memory, with made-up results.

Optuna checks few options in its constructors. `gamma: 0.1` of TPE, or a float range without step under
`brute_force`, fails after the first trials, when hours are spent. Here the same code asks for as many proposals as it
takes to reach the sampler's own decisions: 0.01 to 0.05 s, a second for `gp` and `qmc`, which import torch and SciPy.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace

from runners.search.optuna_factory import start_up_of
from runners.search.pruning import SeedPruning, make_study, pruning_guard, sweep_pruner
from runners.search.study import Study
from runners.trials.objectives import directions
from runners.trials.proposal import Proposal, ProposalResult
from search_space import SpecError, Sweep, direction_of, tuning_sweep
from search_space.parsing.errors import Problem

__all__ = ["dry_run_problems"]

_BEYOND = 4  # proposals after the first ones, which samplers draw at random
_MOST = 150
_MOST_SECONDS = 5.0  # a Gaussian process takes a while for each
_MOST_EPOCHS = 64


def dry_run_problems(sweep: Sweep) -> list[Problem]:
    """Problems that sampler and pruner of a sweep raise at work; their paths begin with the section."""
    problems: list[Problem] = []
    for run in (_search, _retune, _prune):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run(sweep)
        except SpecError as err:
            problems += err.problems
    return list(dict.fromkeys(problems))


def _search(sweep: Sweep) -> None:
    search = sweep.search
    if search is None:
        return
    cold = sweep.model_copy(update={"search": search.model_copy(update={"warm_start": ()})})
    study = Study(cold, None)
    study.replay(lambda variant: None)
    start = time.perf_counter()
    earlier: Proposal | None = None  # trials run in parallel: its result comes after the next proposal
    num_proposals = min(search.num_trials, _MOST, start_up_of(search.sampler, search.options) + _BEYOND)
    for number in range(num_proposals):
        if study.exhausted or time.perf_counter() - start > _MOST_SECONDS:
            break
        proposal = study.propose()
        if earlier is not None:
            _tell(study, cold, earlier, number)
        earlier = proposal
    if earlier is not None:
        _tell(study, cold, earlier, search.num_trials)


def _tell(study: Study, sweep: Sweep, proposal: Proposal, number: int) -> None:
    if proposal.variant is None or proposal.reason:
        study.tell(proposal, ProposalResult("infeasible"))
        return
    if study.is_pruned_by_epoch:
        trial = study.trial_of(proposal)
        with pruning_guard(sweep):
            for step in _steps(proposal.variant.setting.num_epochs or 1):
                trial.report(_made_up(number, step), step)
                if trial.should_prune():
                    study.tell(proposal, ProposalResult("pruned"))
                    return
    values = [_made_up(number, index) for index, _ in enumerate(directions(sweep))]
    study.tell(proposal, ProposalResult("completed", values))


def _retune(sweep: Sweep) -> None:
    if sweep.retune is None:
        return
    try:
        _search(tuning_sweep(sweep, sweep.baseline))
    except SpecError as err:
        raise SpecError(
            [replace(each, path="retune" + each.path.removeprefix("search")) for each in err.problems]
        ) from err


def _prune(sweep: Sweep) -> None:
    prune = sweep.prune
    if prune is None:
        return
    start_up = prune.options.get("n_startup_trials", 0)
    num_trials = min(_MOST, max(16, int(start_up) + _BEYOND if isinstance(start_up, int | float) else 0))
    if prune.is_over_seeds:
        pruning = SeedPruning(sweep)
        for number in range(num_trials):
            for seed in sweep.seeds[:_MOST_EPOCHS]:
                pruning.add_seed(str(number), seed, _made_up(number, seed))
        return
    study = make_study(sweep, [direction_of(sweep.metric)], sweep_pruner(sweep))
    with pruning_guard(sweep):
        for number in range(num_trials):
            trial = study.ask()
            for step in _steps(sweep.baseline.num_epochs or 1):
                trial.report(_made_up(number, step), step)
                trial.should_prune()
            study.tell(trial, _made_up(number, 0))


def _steps(epochs: int) -> Iterator[int]:
    yield from range(1, min(epochs, _MOST_EPOCHS) + 1)
    if epochs > _MOST_EPOCHS:
        yield epochs


def _made_up(number: int, step: int) -> float:
    """A result between 0 and 1, the same in every dry run."""
    return int.from_bytes(hashlib.sha256(f"{number}:{step}".encode()).digest()[:4], "big") / 2**32
