"""Contract of a sampler and of a pruner: classes on Optuna's bases, as a search and a sweep use them.

Every proposal has a sampler of its own, with a seed of its own, which sees the study of all earlier ones: what it keeps
in itself is lost. A pruner is made at every start of the driver and is asked after every epoch.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import optuna

from archsweep.testing.member import as_member, expect, raised, titled
from runners.search.optuna_factory import derived_seed, make_pruner, make_sampler
from search_space.schema.metrics import Direction

__all__ = ["check_pruner", "check_sampler"]

_NAME = "checked"
_SPACE: dict[str, optuna.distributions.BaseDistribution] = {
    "lr": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
    "depth": optuna.distributions.IntDistribution(1, 8),
    "attention": optuna.distributions.CategoricalDistribution(("softmax", "mine", "other")),
}
_DIRECTIONS: tuple[Direction, Direction] = ("maximize", "minimize")
_PROPOSALS = 12
_EPOCHS = 6


def check_sampler(made: type[optuna.samplers.BaseSampler], *, options: Mapping[str, Any] | None = None) -> None:
    """Check a sampler: a small search with a range, a whole number and a choice gets legal proposals, the same ones of
    equal seeds and others of other seeds.

    Args:
        options: arguments of its constructor, as the section `search` has them.

    Raises:
        AssertionError: a condition does not hold; the message says which.
    """
    options, title = dict(options or {}), titled(made, options)
    with as_member("sampler", made, _NAME), _quiet():
        first = _search(title, options, seed=0)
        again = _search(title, options, seed=0)
        hint = "draw all random numbers from a generator that is made of the argument `seed`"
        expect(first == again, title, f"equal seeds give other proposals: {hint}")
        draws = len({str(each) for each in first}) > 1
        expect(draws, title, f"all {_PROPOSALS} proposals are the same: {first[0]}")
        if "seed" in inspect.signature(made).parameters:
            other = _search(title, options, seed=1)
            expect(other != first, title, "another seed gives the same proposals: the argument `seed` is ignored")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's reports of each study."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _search(title: str, options: Mapping[str, Any], seed: int) -> list[dict[str, Any]]:
    """Parameters of the proposals of a search."""
    study = optuna.create_study(direction="maximize")
    found: list[dict[str, Any]] = []
    for number in range(_PROPOSALS):
        with raised(title, f"proposal {number}"):
            study.sampler = make_sampler(_NAME, options, seed=derived_seed(seed, number))
            trial = study.ask(_SPACE)
        for key, value in trial.params.items():
            expect(_is_legal(key, value), title, f"proposal {number} has {key}={value!r}, outside of {_SPACE[key]}")
        found.append(trial.params)
        state = optuna.trial.TrialState.FAIL if number == 2 else optuna.trial.TrialState.COMPLETE
        value = None if number == 2 else -abs(np.log10(trial.params["lr"]) + 2) + trial.params["depth"] / 8
        with raised(title, f"the result of proposal {number}"):
            study.tell(trial, value, state=state)
    return found


def _is_legal(key: str, value: Any) -> bool:
    within = _SPACE[key]
    if isinstance(within, optuna.distributions.CategoricalDistribution):
        return value in within.choices
    assert isinstance(within, optuna.distributions.FloatDistribution | optuna.distributions.IntDistribution)
    is_whole = isinstance(within, optuna.distributions.IntDistribution)
    return isinstance(value, int if is_whole else float) and within.low <= value <= within.high


def check_pruner(made: type[optuna.pruners.BasePruner], *, options: Mapping[str, Any] | None = None) -> None:
    """Check a pruner: it answers with True or False for trials with any number of epochs, of the same curves the same
    each time, and changes no curve.

    Args:
        options: arguments of its constructor, as the section `prune` has them.

    Raises:
        AssertionError: a condition does not hold; the message says which.
    """
    title = titled(made, options)
    options = dict(options or {})
    with as_member("pruner", made, _NAME), _quiet():
        first = _answers(title, options)
        expect(_answers(title, options) == first, title, "the same curves are pruned in one search, not in another")


def _answers(title: str, options: Mapping[str, Any]) -> list[bool]:
    """Whether each trial is pruned after each epoch, for maximising and for minimising."""
    return [answer for direction in _DIRECTIONS for answer in _asked(title, options, direction)]


def _asked(title: str, options: Mapping[str, Any], direction: Direction) -> Iterator[bool]:
    with raised(title, "making it"):
        pruner = make_pruner(_NAME, options)
    # Hyperband hashes the study's name.
    study = optuna.create_study(study_name=_NAME, direction=direction, pruner=pruner)
    generator = np.random.default_rng(0)
    for number in range(_PROPOSALS):
        trial = study.ask()
        level = generator.uniform(20, 90)
        pruned = False
        for epoch in range(_EPOCHS + 1):
            at = f"trial {number} of a study to {direction}, epoch {epoch}"
            if epoch:
                trial.report(level * (1 - 0.7**epoch), epoch)
            before = _curves(study)
            with raised(title, at):
                answer: Any = trial.should_prune()
            expect(isinstance(answer, bool | np.bool_), title, f"prune gives {answer!r} for {at}: True or False")
            expect(_curves(study) == before, title, f"changes the trials of the study for {at}")
            expect(bool(epoch) or not answer, title, f"prunes a trial that has reported nothing yet ({at})")
            yield bool(answer)
            pruned = pruned or bool(answer)
        study.tell(trial, None if pruned else level, state=_ENDED[pruned])


def _curves(study: optuna.Study) -> list[dict[int, float]]:
    return [dict(trial.intermediate_values) for trial in study.get_trials(deepcopy=False)]


_ENDED = {True: optuna.trial.TrialState.PRUNED, False: optuna.trial.TrialState.COMPLETE}
