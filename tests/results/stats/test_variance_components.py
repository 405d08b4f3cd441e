"""Variance components against closed forms, REML of statsmodels, and simulations."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.regression.mixed_linear_model import MixedLM
from statsmodels.stats.anova import anova_lm

from results.stats.variance_components import crossed_components, gain_of_pairing, spread_of


def layout(seed: int, shape: tuple[int, ...], variances: dict[tuple[int, ...], float]) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = np.zeros(shape)
    for chosen, variance in variances.items():
        size = [number if axis in chosen else 1 for axis, number in enumerate(shape)]
        values = values + math.sqrt(variance) * random.standard_normal(size)
    return values


def long_form(values: np.ndarray) -> pd.DataFrame:
    indices = np.indices(values.shape).reshape(values.ndim, -1)
    return pd.DataFrame({"y": values.ravel(), **{"abc"[axis]: each for axis, each in enumerate(indices)}})


def test_two_sources_by_hand():
    """Means of the rows 3 and 7, of the columns 2, 4 and 9: mean squares 24, 26 and 6."""
    values = np.array([[1.0, 3.0, 5.0], [3.0, 5.0, 13.0]])
    found = crossed_components(values, ("init", "order"))
    mean_squares = {"init": 6 * 2.0**2 / 1, "order": 2 * (3.0**2 + 1.0**2 + 4.0**2) / 2, "rest": 12.0 / 2}
    assert [each.variance for each in found.effects] == pytest.approx(
        [
            (mean_squares["init"] - mean_squares["rest"]) / 3,
            (mean_squares["order"] - mean_squares["rest"]) / 2,
            mean_squares["rest"],
        ]
    )
    assert [each.sources for each in found.effects] == [("init",), ("order",), ("init", "order")]
    low, high = (2 * 6.0 / quantile for quantile in stats.chi2.ppf([0.975, 0.025], 2))  # exact, of the residual
    rest = found.effects[-1]
    assert (rest.low, rest.high) == (pytest.approx(low, rel=0.05), pytest.approx(high, rel=0.1))


def test_mean_squares_of_three_sources_are_those_of_statsmodels():
    values = layout(3, (3, 4, 2), {(0,): 4.0, (1,): 1.0, (0, 2): 0.5, (0, 1, 2): 0.3})
    table = anova_lm(ols("y ~ (C(a) + C(b) + C(c)) ** 2", long_form(values)).fit(), typ=1)
    squares = {name.replace("C(", "").replace(")", ""): row["mean_sq"] for name, row in table.iterrows()}
    found = {each.sources: each.variance for each in crossed_components(values, ("a", "b", "c")).effects}
    assert found["a", "b", "c"] == pytest.approx(squares["Residual"])
    assert found["a", "b"] == pytest.approx((squares["a:b"] - squares["Residual"]) / 2)
    apart = squares["a"] - squares["a:b"] - squares["a:c"] + squares["Residual"]
    assert found["a",] == pytest.approx(apart / 8)


def test_they_are_what_reml_finds_where_all_are_above_0():
    """Balanced data: the estimates of the analysis of variance are those of REML (Searle et al. 1992, section 4.8)."""
    values = layout(5, (6, 5), {(0,): 4.0, (1,): 2.0, (0, 1): 1.0})
    data = long_form(values).assign(one=1)
    fitted = MixedLM.from_formula(
        "y ~ 1", data, groups="one", re_formula="0", vc_formula={"a": "0 + C(a)", "b": "0 + C(b)"}
    ).fit(reml=True)
    found = crossed_components(values, ("a", "b"))
    assert all(each.variance > 0 for each in found.effects)
    assert [each.variance for each in found.sources] == pytest.approx(list(fitted.vcomp), rel=1e-3)
    assert found.effects[-1].variance == pytest.approx(fitted.scale, rel=1e-3)


@pytest.mark.slow
@pytest.mark.thorough
def test_estimates_are_unbiased_and_intervals_cover():
    """400 layouts of 4 x 4 x 3: means within three standard errors; of 400 intervals at 95 %, 380 cover, give or take
    three standard errors (13); generalised intervals may cover a little more."""
    variances = {(0,): 1.0, (1,): 0.5, (0, 1): 0.2, (0, 1, 2): 0.3}
    sets = {("a",): 1.0, ("b",): 0.5, ("c",): 0.0, ("a", "b"): 0.2, ("a", "b", "c"): 0.3}
    found = [crossed_components(layout(seed, (4, 4, 3), variances), ("a", "b", "c")) for seed in range(400)]
    for sources, true in sets.items():
        own = [each for one in found for each in one.effects if each.sources == sources]
        estimates = np.array([each.variance for each in own])
        assert estimates.mean() == pytest.approx(true, abs=3 * estimates.std(ddof=1) / 20)
        assert sum(each.low <= true <= each.high for each in own) >= 367
    shares = [one.sources[0] for one in found]
    covered = sum(each.share_low <= 0.5 <= each.share_high for each in shares)
    assert covered >= 360


def test_shares_add_up_and_a_source_without_effect_has_none():
    values = np.repeat(layout(1, (4, 3), {(0,): 1.0, (0, 1): 0.5})[:, :, None], 2, axis=2)
    found = crossed_components(values, ("init", "order", "dropout"))
    assert sum(each.share for each in found.effects) == pytest.approx(1)
    dropout = found.sources[2]
    assert (dropout.variance, dropout.low, dropout.high, dropout.share) == (0, 0, 0, 0)
    assert found.interactions.variance == pytest.approx(sum(max(each.variance, 0) for each in found.effects[3:]))


def test_values_that_are_all_equal_have_no_shares():
    found = crossed_components(np.full((2, 3), 93.1), ("init", "order"))
    assert (found.total, found.effects[0].share) == (0, None)


def test_the_variance_of_one_source_has_a_chi_squared_interval():
    found = spread_of([1.0, 2.0, 3.0, 6.0])
    assert (found.mean, found.variance) == (3.0, pytest.approx(14 / 3))
    assert (found.low, found.high) == (pytest.approx(14 / 9.348404), pytest.approx(14 / 0.2157953))


def test_effective_seeds_by_hand():
    """Differences -1, 0, 1 have the variance 1; the arms 4 and 7: 11 times as many seeds."""
    found = gain_of_pairing([1.0, 3.0, 5.0], [2.0, 3.0, 4.0])
    assert (found.variances, found.variance) == ((4.0, 1.0), pytest.approx(1.0))
    assert (found.factor, found.effective_seeds) == (pytest.approx(5.0), pytest.approx(15.0))
    low, high = ((1 + 9 / quantile) / 2 for quantile in (39.0, 1 / 39))  # F(2, 2) at 0.975; sums have the variance 9
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.thorough
def test_the_interval_of_the_gain_covers():
    """400 times 8 pairs that correlate by 0.8: the gain is 1 / (1 - 0.8) = 5, and 95 % of the intervals have it."""
    random, covered = np.random.default_rng(2), 0
    for _ in range(400):
        shared = random.standard_normal(8)
        arms = [math.sqrt(0.8) * shared + math.sqrt(0.2) * random.standard_normal(8) for _ in range(2)]
        found = gain_of_pairing(*arms)
        covered += found.low <= 5 <= found.high
    assert 367 <= covered <= 393


def test_differences_that_are_all_equal_have_no_gain():
    found = gain_of_pairing([90.1, 91.1, 92.1], [90.0, 91.0, 92.0])
    assert (found.variance, found.factor, found.effective_seeds) == (0.0, None, None)
