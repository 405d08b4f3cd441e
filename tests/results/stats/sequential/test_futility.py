"""Likelihood ratios against scipy's noncentral t, and what is futile."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from results.plan.comparison import Rounds
from results.stats.paired import paired_delta
from results.stats.sequential.futility import futility_bound, is_futile, likelihood_ratio

LOOKS = [3, 5, 8, 12]


@pytest.mark.parametrize("seeds", [3, 5, 8, 20])
@pytest.mark.parametrize("effect", [0.5, 1.5, 3.0])
@pytest.mark.parametrize("t", [0.01, 0.7, 2.5, 6.0])
def test_ratio_of_noncentral_t_densities(seeds: int, effect: float, t: float) -> None:
    shift = effect * math.sqrt(seeds)
    both = stats.nct.pdf(t, seeds - 1, shift) + stats.nct.pdf(-t, seeds - 1, shift)
    assert likelihood_ratio(t, seeds, effect) == pytest.approx(both / 2 / stats.t.pdf(t, seeds - 1), rel=1e-6)


def test_bound_is_where_the_ratio_is() -> None:
    for seeds in LOOKS:
        assert likelihood_ratio(futility_bound(seeds, 1.5), seeds, 1.5) == pytest.approx(0.1, rel=1e-6)
    assert futility_bound(3, 0.2) == 0.0  # three seeds say nothing of so small an effect
    assert futility_bound(8, 1.5, 0.25) > futility_bound(8, 1.5)


def of(differences: list[float]):
    found = paired_delta(dict(enumerate(differences)), dict.fromkeys(range(len(differences)), 0.0), scale=100.0)
    assert found is not None
    return found


def test_effects_of_each_kind() -> None:
    nothing = of([1.0, -1.0, 0.5, -0.5, 0.01])
    assert is_futile(nothing, Rounds(looks=LOOKS, effect=1.5))
    assert not is_futile(nothing, Rounds(looks=LOOKS))
    assert is_futile(nothing, Rounds(looks=LOOKS, smallest=2.0))
    assert not is_futile(nothing, Rounds(looks=LOOKS, smallest=0.1))
    assert not is_futile(of([1.0, 1.2, 0.9, 1.1, 1.0]), Rounds(looks=LOOKS, effect=1.5))


def test_differences_without_spread() -> None:
    assert is_futile(of([0.0] * 5), Rounds(looks=LOOKS, effect=1.5))
    assert not is_futile(of([0.5] * 5), Rounds(looks=LOOKS, effect=1.5))
    assert is_futile(of([0.5] * 5), Rounds(looks=LOOKS, smallest=1.0))
    assert is_futile(of([1.0, 1.0 + 1e-9, 1.0, 1.0, 1.0]), Rounds(looks=LOOKS, smallest=1e9))
