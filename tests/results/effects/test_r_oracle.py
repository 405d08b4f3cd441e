"""Main effects and interactions against R: `lm(y ~ seed + terms)` with `contr.sum`, `car::Anova` of type II.

Two of the four designs are unbalanced. (`note` in tests/golden/statistics/oracle_open.json says how they were made.)
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy import stats

from results import ablation_table
from results.effects.effects import effects

ORACLE = json.loads((Path(__file__).parents[2] / "golden" / "statistics" / "oracle_open.json").read_text())
CASES = pytest.mark.parametrize("case", ORACLE["effects"], ids=lambda case: f"{len(case['data']['y'])} trials")


@pytest.fixture
def analysed(plan, planned, record):
    """The effects of a case of R, as a table of variants and their seeds."""

    def analyse(case):
        data = case["data"]
        factors = [name for name in data if name not in ("seed", "y")]
        rows = list(zip(*(data[name] for name in factors), strict=True))
        # The first level of a factor is the one that comes first in the table.
        variants = {row: ",".join(row) for row in sorted(set(rows))}
        named = [
            planned(name, changes=dict(zip(factors, row, strict=True)), is_baseline=index == 0)
            for index, (row, name) in enumerate(variants.items())
        ]
        seeds = [int(seed) for seed in data["seed"]]
        records = [record(variants[row], seed, value) for row, seed, value in zip(rows, seeds, data["y"], strict=True)]
        return effects(ablation_table(plan(*named, seeds=sorted(set(seeds)), design="factorial"), records))

    return analyse


@CASES
def test_tests_of_effects_are_those_of_r(case, analysed):
    found = analysed(case)
    assert [":".join(effect.term) for effect in found.effects] == case["terms"]
    assert (found.left_out, found.num_trials) == ((), len(case["data"]["y"]))
    assert [effect.df for effect in found.effects] == case["df"]
    assert [effect.f_value for effect in found.effects] == pytest.approx(case["F"], rel=1e-8, abs=1e-10)
    assert [effect.p for effect in found.effects] == pytest.approx(case["p"], rel=1e-8)
    assert [effect.share for effect in found.effects] == pytest.approx(case["partial_eta2"], rel=1e-8, abs=1e-12)
    assert found.residual_df == case["resid_df"]
    assert found.residual_std == pytest.approx(case["resid_sd"], rel=1e-10)


@CASES
def test_estimates_and_intervals_are_those_of_r(case, analysed):
    for effect, want in zip(analysed(case).effects, case["estimates"], strict=True):
        assert (effect.estimate is None) == (want is None)
        if want is not None:
            estimate, low, high = (want[f"{name}_type2"] for name in ("estimate", "low", "high"))
            assert (effect.estimate, effect.low, effect.high) == pytest.approx((estimate, low, high), abs=1e-10)


@CASES
def test_interval_and_p_value_of_an_effect_answer_one_question(case, analysed):
    """t^2 = F: an interval without 0 and a p-value below 0.05 go together, whatever rows are missing."""
    found = analysed(case)
    for effect in found.effects:
        if effect.estimate is not None:
            error = (effect.high - effect.estimate) / stats.t.ppf(0.975, found.residual_df)
            assert (effect.estimate / error) ** 2 == pytest.approx(effect.f_value, rel=1e-9, abs=1e-12)
            assert (effect.low > 0 or effect.high < 0) == (effect.p < 0.05)
