"""Error rates, coverage and power of the tables' statistics in simulated studies with fixed seeds.

`benchmarks/false_claims.py` holds the simulation and prints the same figures from more studies.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest

from results import ablation_table

pytestmark = pytest.mark.thorough

_FILE = Path(__file__).parents[3] / "benchmarks" / "false_claims.py"
_spec = importlib.util.spec_from_file_location("false_claims", _FILE)
assert _spec is not None
assert _spec.loader is not None
false_claims = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(false_claims)

_STUDIES = 6000


def _three_errors(rate: float, num: int) -> float:
    """Three standard errors of a simulated proportion."""
    return 3 * math.sqrt(rate * (1 - rate) / num)


@pytest.mark.parametrize("num_seeds", [3, pytest.param(5, marks=pytest.mark.slow)])
def test_holm_keeps_false_claims_of_ten_null_arms_at_five_percent(num_seeds):
    rate = false_claims.false_claim_rate(_STUDIES, num_seeds=num_seeds, seed=num_seeds)
    assert rate <= 0.05 + _three_errors(0.05, _STUDIES)
    assert rate >= 0.03  # a test that never rejects would satisfy the bound, too


@pytest.mark.default_run("5-0")
@pytest.mark.parametrize(("at_margin", "without_effect"), [(5, 0), (3, 3)])
def test_claims_of_equivalence_and_difference_keep_five_percent_together(at_margin, without_effect):
    """Fixed intervals claimed a false `equivalent` in 10-16 % of the tables of 5 to 10 arms at the margin."""
    num = 1500
    counts = {"num_seeds": 5, "at_margin": at_margin, "without_effect": without_effect, "seed": 11}
    assert false_claims.false_claims_of_any_kind(num, **counts) <= 0.05 + _three_errors(0.05, num)
    assert false_claims.false_claims_of_any_kind(num, **counts, correction="none") > 0.1


@pytest.mark.slow
def test_dunnett_s_claims_of_any_kind_keep_five_percent():
    num = 200
    rate = false_claims.false_claims_of_any_kind(
        num, num_seeds=4, at_margin=3, without_effect=3, correction="dunnett", seed=5
    )
    assert rate <= 0.05 + _three_errors(0.05, num)


@pytest.mark.default_run("3")
@pytest.mark.parametrize("num_seeds", [3, 5])
def test_without_a_correction_a_third_of_the_tables_would_claim_something(num_seeds):
    """The simulation detects the error: studies of 10 arms found 0.345 (3 seeds) and 0.33 (5 seeds)."""
    rate = false_claims.false_claim_rate(2000, num_seeds=num_seeds, correction="none", seed=num_seeds)
    assert rate == pytest.approx(1 / 3, abs=_three_errors(1 / 3, 2000) + 0.01)


@pytest.mark.default_run("3")
@pytest.mark.parametrize("num_seeds", [3, 5, 10])
def test_intervals_cover_the_true_difference_95_times_in_100(num_seeds):
    """One standard error of 10,000 studies is 0.2 points."""
    assert false_claims.coverage(10_000, num_seeds=num_seeds, seed=num_seeds) == pytest.approx(0.95, abs=0.01)


@pytest.mark.default_run("3-3.27", "5-1.0")
@pytest.mark.parametrize(("num_seeds", "size"), [(3, 3.27), (5, 1.0), (5, 1.69), (10, 1.0)])
def test_power_is_that_of_the_noncentral_t_distribution(num_seeds, size):
    """`size` is the effect in standard deviations of a paired difference; 3.27 and 1.69 have a power of 0.8."""
    effect = size * false_claims.NOISE * math.sqrt(2)
    theory = false_claims.theoretical_power(num_seeds=num_seeds, effect=effect)
    found = false_claims.power(_STUDIES, num_seeds=num_seeds, effect=effect, seed=1)
    assert found == pytest.approx(theory, abs=_three_errors(theory, _STUDIES))


def test_tables_claim_as_often_as_the_simulation(plan, planned, record):
    """The same studies as records through `ablation_table` give the same share of tables with a claim."""
    studies = list(false_claims.values_of_studies(200, num_arms=10, num_seeds=3, seed=3))
    claims = 0
    for study in studies:
        variants = [planned(name, is_baseline=name == "baseline") for name in study]
        records = [record(name, seed, value) for name, values in study.items() for seed, value in values.items()]
        table = ablation_table(plan(*variants), records)
        claims += any(row.verdict in ("better", "worse") for row in table.rows)
    assert claims / 200 == false_claims.false_claim_rate(200, num_seeds=3, seed=3)
