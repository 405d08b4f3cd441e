#!/usr/bin/env bash
# Optuna 5.0.0: of choices that are equal in Python (True and 1), the study records the first, whichever was trained.
#
# Behaviour: `suggest_categorical` returns the choice that the sampler drew, and stores its number, which it finds by
# comparing values: that of the first equal choice. With the choices [True, 1, 4] the objective gets 1 and the study has
# True, without a warning. `best_params` then names a setting that was never the best one, a later training of it has
# another result, and a sampler that learns from the study counts the results of both for one of them. The same is true
# of 0 and False, and of 1 and 1.0.
# Guess that was wrong: `trial.params` has what `suggest_categorical` returned.
# Consequence for us: choices are drawn by labels that differ (search_space/variants/suggestion.py); an axis may have
# `true` and 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check optuna==5.0.0 >/dev/null 2>&1
"$folder/venv/bin/python" - <<'PYTHON'
import collections
import warnings

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
returned = []


def accuracy(scale):
    """A layer scale: True is a trained one of 1e-5, a number is a fixed factor."""
    return 70.0 if scale is True else 75.0 + scale


def objective(trial):
    returned.append(trial.suggest_categorical("scale", [True, 1, -4]))
    return accuracy(returned[-1])


with warnings.catch_warnings():
    warnings.simplefilter("error")
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=60)
recorded = [trial.params["scale"] for trial in study.trials]
pairs = collections.Counter((repr(got), repr(kept)) for got, kept in zip(returned, recorded))
print(f"optuna {optuna.__version__}, 60 trials of the choices [True, 1, -4]")
for (got, kept), number in sorted(pairs.items()):
    print(f"  suggest_categorical returned {got}, the study has {kept}: {number} trials")
best = study.best_params["scale"]
print(f"  best value {study.best_value}, best_params {study.best_params}, whose value is {accuracy(best)}")
assert set(pairs) == {("True", "True"), ("1", "True"), ("-4", "-4")}, "the behaviour has changed"
assert best is True and study.best_value == 76.0, "the behaviour has changed"
PYTHON
