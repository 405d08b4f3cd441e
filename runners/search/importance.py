"""Hyperparameter importances of a search, by PED-ANOVA and fANOVA; always show both, named.

The two answer different questions. PED-ANOVA: which parameters distinguish the best tenth of the trials from all of
them (conditional parameters included). fANOVA: which parameters explain the variance over the whole space, by a random
forest, without parameters that some trial does not have. On one history they can disagree completely. Neither shows
that a component helps: for that there are designs, with paired differences or factorial effects.

Separate from `results`, because it needs Optuna.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from results.store.records import TrialRecord
from runners.trials.objectives import objective
from search_space import METRICS, InvalidVariant, Problem, SpecError, Sweep, suggest
from search_space.parsing.errors import reason_of

__all__ = ["MIN_TRIALS", "parameter_importances"]

optuna.logging.set_verbosity(optuna.logging.ERROR)  # or it reports every study below, amid a report or a page

MIN_TRIALS = 4  # PED-ANOVA compares the best trials with all; with fewer there is nothing to compare
_SEED = 0
_ROUNDING = 1e-9  # of a metric: what the order of additions leaves is no effect of a parameter


def parameter_importances(records: Iterable[TrialRecord], sweep: Sweep) -> dict[str, dict[str, float]]:
    """Importances: method -> parameter -> share; the shares of a method add up to 1, the largest comes first.

    PED-ANOVA is left out where so many trials are equally good that its best tenth is all of them.

    Args:
        records: deciding record of each trial; completed ones with a finite metric count.
        sweep: search of the records; trials with parameters that its space no longer contains are left out.

    Raises:
        SpecError: the sweep is no search, fewer than 4 trials count, or the metric is the same in all of them.
    """
    if sweep.search is None:
        raise SpecError(
            Problem("importances belong to a search", path="design", hint="fixed designs have effects; see the table")
        )
    study = optuna.create_study(
        direction=METRICS[sweep.metric].direction, sampler=optuna.samplers.RandomSampler(seed=0)
    )
    for trial in _trials(records, sweep):
        study.add_trial(trial)
    count = len(study.trials)
    if count < MIN_TRIALS:
        message = f"importances need {MIN_TRIALS} completed trials of the present space, but there are {count}"
        raise SpecError(Problem(message, where=sweep.name, hint="continue the search"))
    values = [float(trial.value) for trial in study.trials if trial.value is not None]
    if max(values) - min(values) <= _ROUNDING * max(map(abs, values)):
        text = f"all {count} completed trials have the same {sweep.metric} ({values[0]:g}), so no parameter can matter"
        raise SpecError(Problem(text, where=sweep.name, hint="shares would be made up; does anything train?"))
    evaluators = {"ped_anova": PedAnovaImportanceEvaluator(), "fanova": FanovaImportanceEvaluator(seed=_SEED)}
    found = {name: _importances(study, evaluator) for name, evaluator in evaluators.items()}
    return {name: shares for name, shares in found.items() if shares}


def _trials(records: Iterable[TrialRecord], sweep: Sweep) -> list[optuna.trial.FrozenTrial]:
    """Completed trials in an order independent of the ledger's: a random forest depends on the order of its input."""
    found: dict[str, optuna.trial.FrozenTrial] = {}
    for record in sorted(records, key=lambda record: (record.number is None, record.number or 0, record.trial_id)):
        value = objective(record.metrics, sweep.metric)
        if record.status != "completed" or not record.params or value is None or not math.isfinite(value):
            continue
        distributions = _distributions(record.params, sweep)
        if distributions is not None:
            found[record.trial_id] = optuna.trial.create_trial(
                state=TrialState.COMPLETE,
                value=value,
                params={name: record.params[name] for name in distributions},
                distributions=distributions,
            )
    return list(found.values())


def _distributions(params: Mapping[str, Any], sweep: Sweep) -> dict[str, BaseDistribution] | None:
    """Distributions of the parameters; None if the parameters no longer fit the space."""
    fixed = optuna.trial.FixedTrial(dict(params))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Optuna only warns of a value outside its range
            suggest(sweep, fixed)
    except InvalidVariant:
        pass
    except (ValueError, UserWarning):
        return None
    return fixed.distributions


def _importances(study: optuna.Study, evaluator: Any) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            found = get_param_importances(study, evaluator=evaluator)
        except UserWarning:  # PED-ANOVA: the best tenth is no other set than all trials, so the shares would be equal
            return {}
        except (RuntimeError, ValueError) as err:  # differences in the last digits, which its trees do not see
            text = f"{type(evaluator).__name__} finds no variance to explain: {reason_of(err)}"
            raise SpecError(Problem(text, where=study.study_name)) from err
    shares = {name: float(share) for name, share in found.items()}
    return dict(sorted(shares.items(), key=lambda pair: (-pair[1], pair[0])))
