"""Search spaces: the parameters suggested by real Optuna trials, and the resulting variants."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial

from search_space import InvalidVariant, Sweep, baseline_params, describe_parameter, load_sweep_text, suggest

SEARCH = """
name: s
baseline:
  arch: {depth: 4, embed_dim: 40, num_heads: 4, mlp_ratio: 2, attention: softmax}
space:
  arch.depth: {min: 2, max: 6}
  arch.mlp_ratio: {min: 1, max: 4, step: 0.5}
  train.lr: {min: 1e-4, max: 1e-2, log: true}
  arch.num_heads: [1, 3, 4]
  arch.attention:
    - softmax
    - {value: refiner, with: {expansion: [1, 2.5], kernel_size: [3, 5]}}
    - {value: groupmix, with: {kernel_sizes: [[3, 5, 7], [3, 3, 3]]}}
design: search
search: {num_trials: 10}
require: [arch.embed_dim % arch.num_heads == 0]
"""
FIXED = {"arch.depth": 3, "arch.mlp_ratio": 1.5, "train.lr": 0.002, "arch.num_heads": 1, "arch.attention": "softmax"}


def sweep_of(text: str) -> Sweep:
    return load_sweep_text(text).sweep


def test_a_suggestion_is_applied_to_the_baseline() -> None:
    variant = suggest(sweep_of(SEARCH), FixedTrial(FIXED))
    assert variant.name == "depth=3, mlp_ratio=1.5, lr=0.002, num_heads=1"
    assert variant.changes == {"arch.depth": 3, "arch.mlp_ratio": 1.5, "train.lr": 0.002, "arch.num_heads": 1}
    assert (variant.setting.arch.depth, variant.setting.arch.embed_dim, variant.setting.train.lr) == (3, 40, 0.002)


def test_conditional_parameters_are_suggested_only_with_their_choice() -> None:
    """FixedTrial raises for a parameter without a given value, and records all suggested parameters."""
    refiner = FIXED | {
        "arch.attention": "refiner",
        "arch.attention[refiner].expansion": 2.5,
        "arch.attention[refiner].kernel_size": 5,
    }
    trial = FixedTrial(refiner)
    variant = suggest(sweep_of(SEARCH), trial)
    assert trial.params == refiner
    assert variant.setting.arch.attention.model_dump() == {
        "name": "refiner",
        "blocks": "all",
        "expansion": 2.5,
        "kernel_size": 5,
        "kernel_form": "square",
        "reduction": True,
        "identity": True,
        "linear": False,
        "sharing": "none",
        "refine_shared": True,
        "residual_map": False,
        "placebo": False,
    }
    groupmix = FIXED | {"arch.attention": "groupmix", "arch.attention[groupmix].kernel_sizes": "[3,3,3]"}
    assert suggest(sweep_of(SEARCH), FixedTrial(groupmix)).changes["arch.attention.kernel_sizes"] == [3, 3, 3]


def test_ranges_become_optuna_distributions_of_their_kind() -> None:
    trial = FixedTrial(FIXED)
    suggest(sweep_of(SEARCH), trial)
    found = trial.distributions
    assert found["arch.depth"] == optuna.distributions.IntDistribution(2, 6)
    assert found["arch.mlp_ratio"] == optuna.distributions.FloatDistribution(1, 4, step=0.5)
    assert found["train.lr"] == optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)


def test_a_suggestion_that_does_not_meet_a_requirement_is_invalid() -> None:
    with pytest.raises(InvalidVariant) as caught:
        suggest(sweep_of(SEARCH), FixedTrial(FIXED | {"arch.num_heads": 3}))
    reason = "arch.embed_dim % arch.num_heads == 0 does not hold: arch.embed_dim=40, arch.num_heads=3"
    assert caught.value.reason == reason
    assert caught.value.changes["arch.num_heads"] == 3
    assert caught.value.variant is not None
    assert caught.value.variant.setting.arch.num_heads == 3


def test_a_whole_study_runs_on_a_sweep() -> None:
    """Every category must be legal for Optuna's storage, and equal parameters must give equal variants."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sweep = sweep_of(SEARCH)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(40):
        trial = study.ask()
        try:
            made: Any = suggest(sweep, trial)
        except InvalidVariant as outcome:
            made = outcome.variant
        again = json.loads(json.dumps(trial.params))
        try:
            replayed: Any = suggest(sweep, FixedTrial(again))
        except InvalidVariant as outcome:
            replayed = outcome.variant
        assert replayed.variant_id == made.variant_id
        study.tell(trial, 0.0)
    assert {trial.params["arch.attention"] for trial in study.trials} == {"softmax", "refiner", "groupmix"}


def test_the_baseline_can_be_suggested_if_it_is_in_the_space() -> None:
    sweep = sweep_of(SEARCH)
    params = baseline_params(sweep)
    assert params == {
        "arch.depth": 4,
        "arch.mlp_ratio": 2.0,
        "train.lr": 0.001,
        "arch.num_heads": 4,
        "arch.attention": "softmax",
    }
    variant = suggest(sweep, FixedTrial(params))
    assert (variant.name, variant.is_baseline, variant.changes) == ("baseline", True, {})
    assert variant.setting == sweep.baseline


def test_the_baseline_is_found_inside_a_conditional_choice() -> None:
    text = SEARCH.replace("attention: softmax}", "attention: {name: groupmix, kernel_sizes: [3, 3, 3]}}")
    params = baseline_params(sweep_of(text))
    assert params is not None
    assert params["arch.attention"] == "groupmix"
    assert params["arch.attention[groupmix].kernel_sizes"] == "[3,3,3]"


def test_a_baseline_with_the_default_kernels_is_the_choice_of_the_released_ones() -> None:
    """Both have one id, and a ledger may have stored either."""
    params = baseline_params(sweep_of(SEARCH.replace("attention: softmax}", "attention: groupmix}")))
    assert params is not None
    assert params["arch.attention[groupmix].kernel_sizes"] == "[3,5,7]"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("depth: 4", "depth: 8"),
        ("mlp_ratio: 2", "mlp_ratio: 2.2"),
        ("num_heads: 4", "num_heads: 2"),
        ("attention: softmax}", "attention: reattention}"),
        ("attention: softmax}", "attention: {name: refiner, expansion: 2}}"),
    ],
)
def test_a_baseline_outside_the_space_has_no_suggestions(old: str, new: str) -> None:
    assert baseline_params(sweep_of(SEARCH.replace(old, new, 1))) is None


def test_components_can_be_searched() -> None:
    text = """
name: s
baseline: {arch: {depth: 4}}
space:
  longer: {off: {train.epochs: 2, train.lr: 1e-3}, on: {train.epochs: 4, train.lr: 1e-4}}
  arch.class_token: {off: true, on: false}
design: search
search: {num_trials: 4}
"""
    variant = suggest(sweep_of(text), FixedTrial({"longer": True, "arch.class_token": False}))
    assert (variant.setting.train.epochs, variant.setting.train.lr) == (4, 1e-4)
    assert variant.setting.arch.class_token is True
    assert baseline_params(sweep_of(text)) is None
    assert baseline_params(sweep_of(text.replace("{arch: {depth: 4}}", "{train: {epochs: 2}}"))) == {
        "longer": False,
        "arch.class_token": False,
    }


def test_choices_that_are_equal_for_optuna_become_distinct_text() -> None:
    text = """
name: s
baseline: {}
space:
  arch.options.a: [1, 1.0, true, "1"]
  arch.attention: [{name: refiner, expansion: 1}, {name: refiner, expansion: 2}]
design: search
search: {num_trials: 4}
"""
    sweep = sweep_of(text)
    found = []
    for category in ("1", "1.0", "true", '"1"'):
        params = {"arch.options.a": category, "arch.attention": '{"expansion":2,"name":"refiner"}'}
        variant = suggest(sweep, FixedTrial(params))
        found.append(variant.setting.arch.options["a"])
        assert variant.changes["arch.attention.expansion"] == 2.0
    assert [(type(value), value) for value in found] == [(int, 1), (float, 1.0), (bool, True), (str, "1")]


def test_a_parameter_is_described_on_one_line() -> None:
    space = sweep_of(SEARCH).space
    assert {path: describe_parameter(parameter) for path, parameter in space.items()} == {
        "arch.depth": "2 .. 6",
        "arch.mlp_ratio": "1 .. 4 step 0.5",
        "train.lr": "0.0001 .. 0.01 log",
        "arch.num_heads": "1 | 3 | 4",
        "arch.attention": (
            "softmax | refiner (expansion: 1 | 2.5; kernel_size: 3 | 5) | groupmix (kernel_sizes: [3,5,7] | [3,3,3])"
        ),
    }
