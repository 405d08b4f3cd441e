"""`archsweep variance`: shares of sources, spreads of baselines, and effective seeds, read from a run."""

from __future__ import annotations

import math

import pytest

from results import Run
from results.views.variance import format_variance, run_variance
from search_space import SpecError

CROSSED = {"vary": ["init", "order"], "crossed": {"init": 2, "order": 3}}


@pytest.fixture
def crossed(tmp_path, plan, planned, record):
    """Rows 1, 3, 5 and 3, 5, 13: mean squares 24, 26 and 6, so variances 6, 10 and 6."""
    values = [1.0, 3.0, 5.0, 3.0, 5.0, 13.0]

    def crossed_(number=6):
        records = tuple(record("baseline", seed, value) for seed, value in enumerate(values[:number]))
        rows = planned("baseline", is_baseline=True)
        return Run(tmp_path, plan(rows, design="factorial", seeds=list(range(6)), seed_sources=CROSSED), records)

    return crossed_


@pytest.fixture
def compared(tmp_path, plan, planned, record):
    def compared_(**fields):
        rows = planned("baseline", is_baseline=True), planned("deep"), planned("few")
        values = {"baseline": (2.0, 3.0, 4.0), "deep": (1.0, 3.0, 5.0), "few": (7.0,)}
        records = [record(name, seed, value) for name, own in values.items() for seed, value in enumerate(own)]
        return Run(tmp_path, plan(*rows, **fields), tuple(records))

    return compared_


def test_components_of_a_crossed_design(crossed):
    found = run_variance(crossed())
    assert found.components is not None
    assert [round(each.variance, 9) for each in found.components.effects] == [6, 10, 6]
    assert (found.baseline, found.num_missing, found.arms) == (None, 0, ())
    lines = format_variance([found]).splitlines()
    assert lines[:2] == [
        "refiner_expansion: top1 (points) on builtin/digits",
        "  crossed design of the baseline: 2 of initialisation x 3 of order of the data = 6 trainings",
    ]
    names = [line.split("  ")[1].strip() for line in lines[3:6]]
    assert names == ["initialisation", "order of the data", "together only"]
    assert [" 27 % " in lines[3], " 45 % " in lines[4], " 27 % " in lines[5]] == [True] * 3
    assert lines[6] == f"  one training with all of them at random: SD {math.sqrt(22):.3g}"


def test_a_crossed_design_that_is_not_complete_has_no_shares(crossed):
    found = run_variance(crossed(5))
    assert (found.components, found.num_missing) == (None, 1)
    assert format_variance([found]).splitlines()[-1] == "  1 of them have no value yet: shares need all combinations"


def test_effective_seeds_of_every_arm(compared):
    """Differences -1, 0, 1: variance 1, and 4 + 1 of the arms, so 3 pairs are worth 15 different seeds."""
    found = run_variance(compared())
    deep, few = found.arms
    assert (deep.name, deep.gain.effective_seeds) == ("deep", pytest.approx(15.0))
    assert (few.num_pairs, few.gain) == (1, None)
    assert format_variance([found]) == (
        "refiner_expansion: top1 (points) on builtin/digits\n"
        "  a seed decides initialisation, order of the data, augmentation and dropout\n"
        "  baseline over 3 seeds: mean 3, SD 1 (95 %: 0.521 to 6.28)\n"
        "  at equal seeds, SD of the differences, and as many different seeds as would compare as precisely:\n"
        "  arm   pairs  SD arm  SD baseline  SD differences  different seeds          95 %\n"
        "  deep      3       2            1               1             15.0  1.8 to 528.0\n"
        "  few       1"
    )


def test_runs_of_one_source_each_are_shown_side_by_side(compared):
    runs = [compared(sweep=name, seed_sources={"vary": [name]}) for name in ("init", "order")]
    text = format_variance([run_variance(each) for each in runs])
    assert text.endswith(
        "baselines:\n"
        "  run    a seed decides  seeds  SD           95 %\n"
        "  init             init      3   1  0.521 to 6.28\n"
        "  order           order      3   1  0.521 to 6.28"
    )


def test_runs_of_other_levels_and_data_say_so_side_by_side(compared):
    """An interval of 90 % is not below a head of 95 %, and points of two datasets are not of one."""
    first, other = (compared(sweep=name, seed_sources={"vary": [name]}) for name in ("init", "order"))
    analysis = other.plan.analysis.model_copy(update={"alpha": 0.1})
    plan = other.plan.model_copy(update={"analysis": analysis, "dataset": "folder/pets"})
    text = format_variance([run_variance(first), run_variance(Run(other.path, plan, other.records))])
    assert text.endswith(
        "baselines:\n"
        "  run                 metric  a seed decides  seeds  SD             interval\n"
        "  init   top1 builtin/digits            init      3   1  95 %: 0.521 to 6.28\n"
        "  order     top1 folder/pets           order      3   1  90 %: 0.578 to 4.42"
    )


def test_a_search_and_blocks_have_no_seeds_to_compare(compared):
    with pytest.raises(SpecError, match="is a search"):
        run_variance(compared(design="search"))


def test_what_seeds_of_others_decide_is_not_known(compared):
    text = format_variance([run_variance(compared(own_training=True))])
    assert "  what a seed decides is not known\n" in text


def test_a_plan_that_says_something_else_of_its_design_is_refused(crossed):
    run = crossed()
    odd = run.plan.model_copy(
        update={"seed_sources": run.plan.seed_sources.model_copy(update={"crossed": {"init": 10**9, "order": 2}})}
    )
    with pytest.raises(SpecError, match="no crossed design that this archsweep knows"):
        run_variance(Run(run.path, odd, run.records))
