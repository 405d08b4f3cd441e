"""Tables of differences against R: intervals, p-values, corrections, sign flips, TOST and Dunnett's test.

The numbers were computed in R, those of Dunnett's test by nested quadrature (`note` in
tests/golden/statistics/oracle_open.json says how).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from results.stats.dunnett import fit_blocks
from results.stats.hypothesis_tests import (
    benjamini_hochberg,
    equivalence_p_value,
    holm,
    paired_t_p_value,
    sign_flip_p_value,
)
from results.stats.paired import paired_delta, summarise

ORACLE = json.loads((Path(__file__).parents[2] / "golden" / "statistics" / "oracle_open.json").read_text())
# R wrote 15 digits.
DIGITS = 1e-11


def listed(value: Any) -> list:
    """R writes a vector of one as a number."""
    return value if isinstance(value, list) else [value]


def arms_of(table) -> list[list[float]]:
    return table["arms"] if isinstance(table["arms"][0], list) else [table["arms"]]


def deltas_of(table):
    baseline = dict(enumerate(table["baseline"]))
    found = [paired_delta(dict(enumerate(arm)), baseline) for arm in arms_of(table)]
    assert all(found)
    return [delta for delta in found if delta is not None]


def title(table) -> str:
    return f"{len(arms_of(table))} arms, {len(table['baseline'])} seeds"


TABLES = pytest.mark.parametrize("table", ORACLE["tables"], ids=title)
TESTED = pytest.mark.parametrize("table", [t for t in ORACLE["tables"] if len(t["baseline"]) >= 3], ids=title)


@TABLES
def test_means_and_intervals_are_those_of_r(table):
    summaries = [summarise(arm) for arm in arms_of(table)]
    assert [one.mean for one in summaries if one] == pytest.approx(listed(table["mean"]), rel=DIGITS)
    assert [one.std for one in summaries if one] == pytest.approx(listed(table["sd"]), rel=DIGITS)
    for ours, key in (("mean", "delta"), ("std", "delta_sd"), ("low", "low"), ("high", "high")):
        found = [getattr(delta, ours) for delta in deltas_of(table)]
        # Differences of numbers near 90: their 15th digit is the 13th of the difference.
        assert found == pytest.approx(listed(table[key]), rel=DIGITS, abs=1e-11), key


@TABLES
def test_p_values_and_their_corrections_are_those_of_r(table):
    raw = [paired_t_p_value(delta) for delta in deltas_of(table)]
    if len(table["baseline"]) < 3:
        assert raw == table["p"] == [None] * len(raw)
        return
    assert raw == pytest.approx(listed(table["p"]), rel=1e-9)
    assert holm(raw, len(raw)) == pytest.approx(listed(table["holm"]), rel=1e-9)
    assert benjamini_hochberg(raw, len(raw)) == pytest.approx(listed(table["bh"]), rel=1e-9)


@TABLES
def test_sign_flips_are_counted_as_in_r(table):
    assert [sign_flip_p_value(delta.differences) for delta in deltas_of(table)] == listed(table["sign_flip"])


@TESTED
def test_equivalence_is_that_of_r(table):
    found = [equivalence_p_value(delta, table["margin"]) for delta in deltas_of(table)]
    assert found == pytest.approx(listed(table["tost_p"]), rel=1e-9)


@TESTED
def test_dunnett_s_test_is_the_quadrature(table):
    """With the seed as a block, `lm(y ~ arm + seed)`, exact to 1e-8, whatever the order of the arms."""
    arms = {str(index): arm for index, arm in enumerate(arms_of(table))}
    for order in (list(arms), list(arms)[::-1]):
        fit = fit_blocks({name: arms[name] for name in order}, table["baseline"], len(arms))
        assert fit is not None
        assert [fit.p_value(name) for name in arms] == pytest.approx(listed(table["dunnett_blocked"]), abs=1e-8)
