"""Importances of a search: the decisive parameter is first, and the order of the ledger has no influence."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from results import TrialRecord
from runners.search.importance import parameter_importances
from search_space import SpecError, load_sweep_text

_SWEEP = """
name: toy
baseline: {arch: {model: vit, depth: 2, embed_dim: 20, num_heads: 2}}
space:
  train.lr: {min: 0.001, max: 0.1, log: true}
  train.weight_decay: {min: 0.0, max: 0.5}
  arch.depth: [1, 2, 3]
design: search
search: {num_trials: 60}
metric: top1
"""


def _records(sweep_value, count=60):
    rng = random.Random(0)
    records = []
    for number in range(count):
        params = {
            "train.lr": 10 ** rng.uniform(-3, -1),
            "train.weight_decay": rng.uniform(0, 0.5),
            "arch.depth": _choice(rng),
        }
        records.append(
            TrialRecord(
                trial_id=f"t{number}",
                variant_id=f"v{number}",
                variant=f"v{number}",
                seed=0,
                spec={},
                status="completed",
                metrics={"top1": sweep_value(params)},
                number=number,
                params=params,
            )
        )
    return records


def _choice(rng):
    return rng.choice([1, 2, 3])


@pytest.fixture(scope="module")
def sweep():
    return load_sweep_text(_SWEEP).sweep


def test_the_decisive_parameter_is_first_by_both_methods(sweep):
    """Top-1 depends on weight decay, and very slightly on the learning rate."""
    found = parameter_importances(
        _records(lambda p: 90 - 40 * abs(p["train.weight_decay"] - 0.1) + p["train.lr"]), sweep
    )
    assert list(found) == ["ped_anova", "fanova"]
    for shares in found.values():
        assert next(iter(shares)) == "train.weight_decay"
        assert shares["train.weight_decay"] > 0.7
        assert set(shares) == {"train.lr", "train.weight_decay", "arch.depth"}
        assert sum(shares.values()) == pytest.approx(1)
        assert all(type(share) is float for share in shares.values())


@pytest.mark.thorough
def test_the_order_of_the_ledger_does_not_matter(sweep):
    records = _records(lambda p: 90 - p["train.weight_decay"] - 3 * p["train.lr"])
    expected = parameter_importances(records, sweep)
    random.Random(1).shuffle(records)
    assert parameter_importances(records, sweep) == expected


def test_trials_that_are_pruned_failed_or_of_another_space_do_not_count(sweep):
    records = _records(lambda p: 90 - p["train.weight_decay"])
    expected = parameter_importances(records, sweep)
    stray = records[0].model_copy(update={"trial_id": "x", "number": 99})
    strays = [
        stray.model_copy(update={"status": "pruned", "metrics": {"top1": 1.0}}),
        stray.model_copy(update={"trial_id": "y", "metrics": {"top1": float("nan")}}),
        stray.model_copy(update={"trial_id": "z", "params": {**stray.params, "train.lr": 5.0}}),
    ]
    assert parameter_importances(records + strays, sweep) == expected


def test_too_few_trials_are_an_error(sweep):
    with pytest.raises(SpecError) as caught:
        parameter_importances(_records(lambda p: 1.0, count=3), sweep)
    assert str(caught.value) == (
        "toy: importances need 4 completed trials of the present space, but there are 3\n  continue the search"
    )


@pytest.mark.parametrize("noise", [0.0, 1e-14, 1e-11])
def test_nothing_can_matter_where_all_trials_have_the_same_metric(sweep, noise):
    """fANOVA divides by the variance, and PED-ANOVA would share 1 among the parameters."""
    records = _records(lambda p: 50.0 + noise * (p["arch.depth"] - 2), count=20)
    with pytest.raises(SpecError) as caught:
        parameter_importances(records, sweep)
    assert str(caught.value) == (
        "toy: all 20 completed trials have the same top1 (50), so no parameter can matter\n"
        "  shares would be made up; does anything train?"
    )


@pytest.mark.parametrize(("other", "methods"), [(50.1, ["fanova"]), (49.9, ["ped_anova", "fanova"])])
def test_one_other_trial_is_a_variance_but_not_always_a_best_tenth(sweep, other, methods):
    """One better trial among 20: the best two are all of them, and PED-ANOVA would draw equal shares. One worse
    trial can be separated from the others."""
    records = _records(lambda p: 50.0, count=20)
    records[7] = records[7].model_copy(update={"metrics": {"top1": other}})
    found = parameter_importances(records, sweep)
    assert list(found) == methods
    assert all(sum(shares.values()) == pytest.approx(1) for shares in found.values())


def test_a_fixed_design_has_no_importances():
    fixed = load_sweep_text(
        "name: toy\nbaseline: {arch: {model: vit}}\nspace: {arch.depth: [1, 2]}\ndesign: one_factor\n"
    ).sweep
    with pytest.raises(SpecError) as caught:
        parameter_importances([], fixed)
    assert str(caught.value) == ("design: importances belong to a search\n  fixed designs have effects; see the table")


def test_optuna_does_not_talk_amid_a_report():
    """Symptom: `report` and `serve` printed "A new study created in memory". In a process of its own, because other
    modules silence Optuna for all."""
    code = "import runners.search.importance, optuna; optuna.create_study()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert (done.stdout, done.stderr) == ("", "")
