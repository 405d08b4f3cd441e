"""`check_sampler` and `check_pruner` find the faults that their contracts name, and pass Optuna's own."""

from __future__ import annotations

import optuna
import pytest

from archsweep.testing import check_pruner, check_sampler


@pytest.mark.parametrize("name", ["RandomSampler", "TPESampler", "NSGAIISampler", "QMCSampler"])
def test_optunas_samplers_pass(name):
    check_sampler(getattr(optuna.samplers, name))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("MedianPruner", {"n_startup_trials": 2}),
        ("HyperbandPruner", {}),
        ("SuccessiveHalvingPruner", {}),
        ("ThresholdPruner", {"lower": 40.0}),
        ("PatientPruner", {"wrapped_pruner": "median", "patience": 1}),
    ],
)
def test_optunas_pruners_pass(name, options):
    check_pruner(getattr(optuna.pruners, name), options=options)


class Unseeded(optuna.samplers.RandomSampler):
    def __init__(self):
        super().__init__()


class IgnoresSeed(optuna.samplers.RandomSampler):
    def __init__(self, seed: int | None = None):
        super().__init__(seed=0)


class Counts(optuna.samplers.BaseSampler):
    """One step further each time; what it keeps in itself is lost, since each proposal has a sampler of its own."""

    def __init__(self):
        self.number = 0

    def infer_relative_search_space(self, study, trial):
        return {}

    def sample_relative(self, study, trial, search_space):
        return {}

    def sample_independent(self, study, trial, param_name, param_distribution):
        self.number += 1
        return {"lr": 1e-2, "depth": self.number, "attention": "mine"}[param_name]


class Outside(Counts):
    def sample_independent(self, study, trial, param_name, param_distribution):
        return {"lr": 1.0, "depth": 1, "attention": "mine"}[param_name]


class NeedsResults(Counts):
    """Fails where there is no finished trial, as at the start."""

    def sample_independent(self, study, trial, param_name, param_distribution):
        return study.best_trial.params[param_name]


class NotBase:
    def __init__(self):
        pass


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (Unseeded, "Unseeded: equal seeds give other proposals: draw all random numbers from a generator"),
        (IgnoresSeed, "IgnoresSeed: all 12 proposals are the same"),
        (Counts, "Counts: all 12 proposals are the same: {'lr': 0.01, 'depth': 2, 'attention': 'mine'}"),
        (Outside, "Outside: proposal 0 has lr=1.0, outside of FloatDistribution("),
        (NeedsResults, "NeedsResults: proposal 0 raised ValueError: No trials are completed yet."),
        (NotBase, "NotBase: the sampler 'checked' must be a class on optuna.samplers.BaseSampler; class NotBase(Base"),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "",
)
def test_a_fault_of_a_sampler_is_named(made, sentence):
    with pytest.raises(AssertionError) as caught:
        check_sampler(made)
    assert str(caught.value).startswith(sentence)


class Sound(optuna.pruners.BasePruner):
    def __init__(self, limit: float = 50.0):
        self.limit = limit

    def prune(self, study, trial):
        values = trial.intermediate_values
        return bool(values) and max(values.values()) < self.limit


class NeedsValues(Sound):
    def prune(self, study, trial):
        return max(trial.intermediate_values.values()) < self.limit


class GivesNone(Sound):
    def prune(self, study, trial):
        if super().prune(study, trial):
            return True


class PrunesUnheard(Sound):
    def prune(self, study, trial):
        return max(trial.intermediate_values.values(), default=0.0) < self.limit


class Remembers(Sound):
    """Of all pruners of the class: another answer after a restart."""

    asked = 0

    def prune(self, study, trial):
        type(self).asked += 1
        return bool(trial.intermediate_values) and self.asked % 11 == 0


@pytest.mark.parametrize(
    ("made", "options", "sentence"),
    [
        (NeedsValues, {}, "NeedsValues: trial 0 of a study to maximize, epoch 0 raised ValueError: max() "),
        (GivesNone, {}, "GivesNone: prune gives None for trial 0 of a study to maximize, epoch 0: True or False"),
        (PrunesUnheard, {}, "PrunesUnheard: prunes a trial that has reported nothing yet (trial 0 of a study to"),
        (Remembers, {}, "Remembers: the same curves are pruned in one search, not in another"),
        (Sound, {"limi": 3}, "Sound(limi=3): making it: not an option of Sound; known: limit.  Did you mean 'limit'?"),
        (NotBase, {}, "NotBase: the pruner 'checked' must be a class on optuna.pruners.BasePruner"),
    ],
    ids=["no values", "none", "unheard", "remembers", "option", "no base"],
)
def test_a_fault_of_a_pruner_is_named(made, options, sentence):
    check_pruner(Sound, options={"limit": 40.0})
    with pytest.raises(AssertionError) as caught:
        check_pruner(made, options=options)
    assert str(caught.value).startswith(sentence)
