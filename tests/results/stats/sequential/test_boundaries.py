"""Critical values against recorded ones (another method: Sobol points through the backward chain), simulation, and
closed forms."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from results.stats.sequential.boundaries import critical_values
from results.stats.sequential.p_values import sequential_p_value
from results.stats.sequential.spending import spent

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "statistics" / "boundaries.json").read_text())
CASES = sorted(GOLDEN)


@pytest.mark.parametrize("case", CASES)
def test_recorded_boundaries(case: str) -> None:
    """Their error is below half a percent of each increment, so below a thousandth of the critical value."""
    found = GOLDEN[case]
    ours = critical_values(tuple(found["looks"]), found["alpha"], case.split("/")[0])
    assert ours == pytest.approx(found["critical_t"], rel=2e-4)


def test_one_look_is_the_t_test() -> None:
    for seeds, alpha in ((3, 0.05), (12, 0.01), (50, 1e-6)):
        for spending in ("obf", "pocock", "power"):
            (found,) = critical_values((seeds,), alpha, spending)
            assert found == pytest.approx(stats.t.isf(alpha / 2, seeds - 1), rel=1e-9)


def test_first_look_spends_what_it_may() -> None:
    share = float(spent(np.array([0.05]), 0.25, "obf")[0])
    assert share == pytest.approx(2 * stats.norm.sf(stats.norm.isf(0.025) / 0.5), rel=1e-12)
    first = critical_values((3, 12), 0.05, "obf")[0]
    assert 2 * stats.t.sf(first, 2) == pytest.approx(share, rel=1e-9)


@pytest.mark.parametrize("looks", [(3, 5, 8, 12), (3, 4, 5, 6, 7, 8), (4, 20)])
@pytest.mark.parametrize("spending", ["obf", "pocock", "power"])
def test_share_that_crosses_by_each_look(looks: tuple[int, ...], spending: str) -> None:
    """Forward paths of normal differences: the chance of a crossing until each look is what was spent until then."""
    number, alpha = 200_000, 0.1
    values = np.random.default_rng(5).standard_normal((number, looks[-1]))
    crossed = np.zeros(number, bool)
    for seeds, critical in zip(looks, critical_values(looks, alpha, spending), strict=True):
        seen = values[:, :seeds]
        crossed |= np.abs(seen.mean(axis=1)) / seen.std(axis=1, ddof=1) * math.sqrt(seeds) >= critical
        planned = float(spent(np.array([alpha]), seeds / looks[-1], spending)[0])
        assert crossed.mean() == pytest.approx(planned, abs=4.5 * math.sqrt(planned / number))


@pytest.mark.parametrize(
    "looks", [(3, 5, 8, 12), pytest.param((3, 4, 5, 6, 8, 10, 12), marks=pytest.mark.slow), (10, 30)]
)
def test_boundaries_fall_with_the_level(looks: tuple[int, ...]) -> None:
    """What makes sequential p-values valid."""
    for spending in ("obf", "pocock", "power"):
        found = np.array([critical_values(looks, alpha, spending) for alpha in np.geomspace(1e-6, 0.5, 12)])
        assert (np.diff(found, axis=0) < 0).all()


@pytest.mark.parametrize("spending", ["obf", "pocock", "power"])
@pytest.mark.parametrize(("seeds", "t"), [(3, 0.4), (3, 50.0), (5, 2.0), (20, 100.0)])
def test_with_one_look_p_is_that_of_the_t_test(seeds: int, t: float, spending: str) -> None:
    assert sequential_p_value({seeds: t}, (seeds,), spending) == pytest.approx(2 * stats.t.sf(t, seeds - 1), rel=1e-12)


@pytest.mark.default_run("pocock")
@pytest.mark.parametrize("spending", ["obf", "pocock", "power"])
def test_p_value_is_the_level_that_is_crossed(spending: str) -> None:
    for looks in ((3, 5, 8, 12), (5, 10, 50)):
        for alpha in (1e-7, 0.0005, 0.01, 0.05, 0.3):
            for seeds, critical in zip(looks, critical_values(looks, alpha, spending), strict=True):
                if math.isfinite(critical):
                    assert sequential_p_value({seeds: critical}, looks, spending) == pytest.approx(alpha, rel=1e-4)


def test_p_value_never_grows_and_has_ends() -> None:
    looks = (3, 5, 8, 12)
    alone = sequential_p_value({5: 9.0}, looks, "pocock")
    assert sequential_p_value({5: 9.0, 8: 0.1}, looks, "pocock") == alone
    assert sequential_p_value({5: 9.0, 8: 40.0}, looks, "pocock") < alone
    assert sequential_p_value({3: 0.0}, looks, "obf") == 1.0
    assert sequential_p_value({}, looks, "obf") == 1.0
    assert 0 < sequential_p_value({12: 1e9}, looks, "obf") < 1e-8
