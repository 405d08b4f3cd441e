"""Kendall's tau-b as scipy has it, and its range as every order that is left possible gives it."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from scipy import stats

from results.stats.rank_agreement import kendall_tau, tau_range


@pytest.mark.parametrize("salt", range(40))
def test_tau_is_that_of_scipy(salt):
    draw = random.Random(salt)
    pairs = [(draw.randrange(4), draw.randrange(4)) for _ in range(draw.randrange(2, 9))]
    expected = stats.kendalltau(*zip(*pairs, strict=True)).statistic
    found = kendall_tau(pairs)
    assert math.isnan(expected) if found is None else found == pytest.approx(expected)


def test_five_things_with_one_swap():
    """Nine of ten pairs agree: (9 - 1) / 10."""
    assert kendall_tau([(1, 1), (2, 2), (3, 4), (4, 3), (5, 5)]) == 0.8


@pytest.mark.parametrize("salt", range(60))
def test_the_range_is_that_of_every_order_that_is_possible(salt):
    draw = random.Random(salt)
    signs = [(draw.choice([-1, 0, 1, 1]), draw.choice([-1, 0, 0, 1])) for _ in range(draw.randrange(1, 8))]
    open_places = [at for at, (_, right) in enumerate(signs) if right == 0]
    taus = []
    for filled in itertools.product([-1, 0, 1], repeat=len(open_places)):
        rights = [right for _, right in signs]
        for at, sign in zip(open_places, filled, strict=True):
            rights[at] = sign
        lefts = [left for left, _ in signs]
        if any(lefts) and any(rights):
            agreement = sum(left * right for left, right in zip(lefts, rights, strict=True))
            taus.append(agreement / math.sqrt(sum(map(abs, lefts)) * sum(map(abs, rights))))
    found = tau_range(signs)
    assert found is None if not taus else found == pytest.approx((min(taus), max(taus)))


def test_the_range_is_one_value_where_every_pair_is_known():
    assert tau_range([(1, 1), (1, -1), (-1, -1)]) == pytest.approx((1 / 3, 1 / 3))
    assert tau_range([(1, 0), (1, 0), (1, 0)]) == (-1, 1)
    assert tau_range([(0, 1), (0, 0)]) is None
