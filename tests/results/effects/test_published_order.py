"""Order of rows against a paper's: tau and t-tests by scipy, Holm by statsmodels, coverage by simulation."""

from __future__ import annotations

import math
import random
from itertools import combinations
from statistics import fmean

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from results import ablation_table
from results.effects.published_order import published_orders
from results.layout.footnotes import footnotes
from results.table.merge import merged_table

SOURCE = "A paper, table 5"


@pytest.fixture
def table_of(plan, planned, record):
    """Table of rows (name -> values by seed, None: the seed failed) and published values (name -> value)."""

    def make(values, published, *, metric="top1", compare="value", sources=None, **fields):
        names = list(values)
        variants = [planned(name, is_baseline=not at, changes=changes(at)) for at, name in enumerate(names)]
        records = [
            record(name, seed, None if value is None else 1.0, metrics={} if value is None else {metric: value})
            for name in names
            for seed, value in enumerate(values[name])
        ]
        num_seeds = max(map(len, values.values()))
        there = [
            {
                "when": changes(names.index(name)),
                "values": {metric: value},
                "source": (sources or {}).get(name, SOURCE),
                "compare": compare,
            }
            for name, value in published.items()
        ]
        base = {"metric": "top1" if metric == "similar_blocks" else metric, "seeds": list(range(num_seeds))}
        if metric == "similar_blocks":
            records = [one.model_copy(update={"metrics": {**one.metrics, "top1": 50.0}}) for one in records]
        return ablation_table(plan(*variants, published=there, **{**base, **fields}), records)

    def changes(at):
        return {"arch.depth": 100 + at} if at else {}

    return make


def notes_of(table, *words):
    return [note for note in footnotes(table) if any(word in note for word in (words or ("Order of",)))]


# -- by hand -----------------------------------------------------------------------

THREE = {"a": [70.0, 71.0, 72.0], "b": [80.0, 81.5, 82.0], "c": [75.0, 75.5, 77.5]}


def test_three_rows_by_hand(table_of):
    """Published a < b < c, ours a < c < b at every seed: of three pairs two agree, tau (2 - 1) / 3."""
    (found,) = published_orders(table_of(THREE, {"a": 1.0, "b": 2.0, "c": 3.0}))
    assert found.rows == ("c", "b", "a")
    assert found.units == ("0", "1", "2")
    assert found.tau == pytest.approx(1 / 3)
    assert found.by_unit == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert (found.num_pairs, found.num_as_published) == (3, 2)
    ((pair),) = found.reversed
    # c - b: -5, -6, -4.5
    assert (pair.upper, pair.lower, pair.published) == ("c", "b", 1.0)
    assert pair.ours.mean == pytest.approx(-15.5 / 3)
    assert (found.low, found.high) == pytest.approx((1 / 3, 1 / 3))


def test_the_note_by_hand(table_of):
    assert notes_of(table_of(THREE, {"a": 1.0, "b": 2.0, "c": 3.0}), "Order of", "Not as published", "tau:") == [
        f"Order of 3 rows by top1 as published ({SOURCE}): tau 0.33 [0.33, 0.33] over 3 seeds (each by itself: 0.33, "
        "0.33, 0.33); of the 3 pairs that the paper orders, 2 are so here beyond the noise and 1 the other way.",
        "Not as published beyond the noise: c minus b is -5.17 [-7.06, -3.27] here and +1 there.",
        "tau: Kendall's tau-b of our means with the published values, 1 for the same order and -1 for the reverse one; "
        "in brackets all that it can be if the pairs that paired t-tests tell apart (beyond the noise; level 95 % for "
        "all pairs together, Holm) keep their order. The noise of the published values is not known.",
    ]


def test_pairs_that_the_seeds_do_not_tell_apart_leave_tau_open(table_of):
    values = {"a": [70.0, 71.0, 69.0], "b": [70.5, 70.0, 71.5], "c": [90.0, 90.1, 90.2]}
    (found,) = published_orders(table_of(values, {"a": 1.0, "b": 2.0, "c": 3.0}))
    assert found.tau == 1
    assert found.reversed == ()
    assert found.num_as_published == 2
    assert (found.low, found.high) == pytest.approx((1 / 3, 1))  # a and b may be the other way round


def test_equal_published_values_are_no_order_of_their_pair(table_of):
    """Published a = b < c, ours a < c < b: of two pairs one agrees, tau 0 / sqrt(2 x 3)."""
    (found,) = published_orders(table_of(THREE, {"a": 1.0, "b": 1.0, "c": 3.0}))
    assert found.num_pairs == 2
    assert found.tau == 0
    assert [(one.upper, one.lower) for one in found.reversed] == [("c", "b")]


@pytest.mark.parametrize("metric", ["loss", "similar_blocks"])
def test_where_lower_is_better_and_where_nothing_is(metric, table_of):
    """The order is that of the values on both sides, whichever end is better."""
    (found,) = published_orders(table_of(THREE, {"a": 1.0, "c": 2.0, "b": 3.0}, metric=metric))
    assert (found.metric, found.tau, found.reversed) == (metric, 1, ())
    (turned,) = published_orders(table_of(THREE, {"a": 3.0, "c": 2.0, "b": 1.0}, metric=metric))
    assert (turned.tau, len(turned.reversed)) == (-1, 3)


# -- what is too little for an order -------------------------------------------------


def test_two_rows_have_no_order(table_of):
    table = table_of({"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 4.0]}, {"a": 1.0, "b": 2.0})
    assert notes_of(table) == [
        f"Order of 2 rows by top1 as published ({SOURCE}): not stated, because an order needs 3 rows with both values."
    ]


def test_one_published_row_has_no_note(table_of):
    assert published_orders(table_of(THREE, {"a": 1.0})) == ()


def test_rows_that_lack_a_seed_are_left_out_by_name(table_of):
    values = {**THREE, "d": [60.0, None, 61.0]}
    table = table_of(values, {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0})
    (found,) = published_orders(table)
    assert (found.rows, found.lacking, found.tau) == (("c", "b", "a"), ("d",), pytest.approx(1 / 3))
    assert ", without d (no value at every seed so far): tau 0.33" in notes_of(table)[0]


def test_one_seed_says_nothing_of_the_noise(table_of):
    table = table_of({name: values[:1] for name, values in THREE.items()}, {"a": 1.0, "b": 2.0, "c": 3.0})
    assert notes_of(table, "Order of", "tau") == [
        f"Order of 3 rows by top1 as published ({SOURCE}): not stated, because one seed says nothing of the noise."
    ]


def test_two_seeds_have_no_interval(table_of):
    table = table_of({name: values[:2] for name, values in THREE.items()}, {"a": 1.0, "b": 2.0, "c": 3.0})
    (found,) = published_orders(table)
    assert (found.low, found.high, found.reversed) == (None, None, ())
    assert notes_of(table, "Order of", "tau:") == [
        f"Order of 3 rows by top1 as published ({SOURCE}): tau 0.33 over 2 seeds (each by itself: 0.33, 0.33), without "
        "an interval: two distinguish no pair.",
        "tau: Kendall's tau-b of our means with the published values, 1 for the same order and -1 for the reverse one.",
    ]


@pytest.mark.parametrize(
    ("values", "published", "reason"),
    [
        (THREE, {"a": 1.0, "b": 1.0, "c": 1.0}, "the published values are all equal"),
        ({name: [1.0, 2.0, 3.0] for name in "abc"}, {"a": 1.0, "b": 2.0, "c": 3.0}, "our means are all equal"),
    ],
)
def test_equal_values_have_no_order(values, published, reason, table_of):
    (note,) = notes_of(table_of(values, published))
    assert note.endswith(f": not stated, because {reason}.")


def test_rounding_errors_are_ties(table_of):
    """0.1 + 0.2 is not 0.3 in binary, and no row is better for it."""
    values = {"a": [30.0] * 3, "b": [(0.1 + 0.2) * 100] * 3, "c": [40.0, 41.0, 42.0]}
    (found,) = published_orders(table_of(values, {"a": 1.0, "b": 2.0, "c": 3.0}))
    assert found.tau == pytest.approx(2 / math.sqrt(3 * 2))


def test_a_run_without_results_has_no_note(table_of):
    assert notes_of(table_of({name: [None] * 3 for name in "abc"}, {"a": 1.0, "b": 2.0, "c": 3.0})) == []


def test_looks_leave_no_test(table_of):
    rounds = {"looks": [3, 5], "spending": "obf", "stop": "decided"}
    values = {name: [*found, 80.0, 81.0] for name, found in THREE.items()}
    table = table_of(values, {"a": 1.0, "b": 2.0, "c": 3.0}, rounds=rounds)
    (found,) = published_orders(table)
    assert (found.low, found.reversed) == (None, ())
    assert "without an interval: looks decided the number of seeds." in notes_of(table)[0]


# -- sources, forms of comparison, runs ------------------------------------------------


def test_an_order_is_within_one_source(table_of):
    """Rows of different tables of a paper are of different trainings."""
    values = {**THREE, "d": [60.0, 61.0, 60.5]}
    published = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 9.0}
    (found,) = published_orders(table_of(values, published, sources={"d": "A paper, table 6"}))
    assert found.rows == ("c", "b", "a")


def test_what_is_compared_by_order_is_in_no_column(table_of):
    table = table_of(THREE, {"a": 1.0, "b": 2.0, "c": 3.0}, compare="order")
    assert all(row.published == () and len(row.order_only) == 1 for row in table.rows)
    notes = footnotes(table, shown=("variant", "top1"))
    assert any(note.startswith("Order of 3 rows by top1") for note in notes)
    assert notes[-1] == (
        "Compared by order only: the published values are of the paper's own setting, so they are in no column and no "
        "difference to them is stated."
    )
    assert not any(note.startswith("[1]") for note in notes)


def test_a_table_without_the_column_has_orders_of_order_only(table_of):
    table = table_of(THREE, {"a": 1.0, "b": 2.0, "c": 3.0})
    assert not [note for note in footnotes(table, shown=("variant", "top1")) if "Order of" in note]
    assert notes_of(table)


def test_each_run_of_a_merged_table_has_its_order(table_of, tmp_path):
    tables = [
        table_of(THREE, published, sweep=name)
        for name, published in (("s-one", {"a": 1.0, "b": 2.0, "c": 3.0}), ("s-two", {"a": 1.0, "c": 2.0, "b": 3.0}))
    ]
    merged = merged_table(tables, [tmp_path / "one", tmp_path / "two"])
    one, two = notes_of(merged)
    assert one.startswith("one: Order of 3 rows by top1 as published (A paper, table 5): tau 0.33")
    assert two.startswith("two: Order of 3 rows by top1 as published (A paper, table 5): tau 1.00")


def test_folds_have_the_test_of_their_overlap(plan, planned, record):
    """Three folds of equal size: the standard error is sqrt(1/3 + 1/2) s in place of sqrt(1/3) s."""
    folds = ["fold=0", "fold=1", "fold=2"]
    values = {"a": [70.0, 71.0, 72.0], "b": [80.0, 81.5, 82.0], "c": [75.0, 75.5, 77.5]}
    variants, records = [], []
    for at, name in enumerate(values):
        for fold, value in zip(folds, values[name], strict=True):
            changes = {"arch.depth": 100 + at} if at else {}
            known = {"variant_id": f"{name} {fold}", "changes": changes}
            treatment = f"{name} {folds[0]}"
            variants.append(planned(name, is_baseline=not at, block=fold, treatment=treatment, **known))
            for seed, shift in ((0, -0.25), (1, 0.25)):
                records.append(record(name, seed, value + shift, trial_id=f"{name}{fold}{seed}", **known))
    blocks = {"path": "task.dataset.fold", "names": folds, "kind": "folds", "num_folds": 3}
    blocks |= {"train_images": [200, 200, 200], "test_images": [100, 100, 100]}
    published = [
        {"when": {"arch.depth": 100 + at} if at else {}, "values": {"top1": value}, "source": SOURCE}
        for at, value in enumerate((1.0, 2.0, 3.0))
    ]
    table = ablation_table(plan(*variants, seeds=[0, 1], blocks=blocks, published=published), records)
    (found,) = published_orders(table)
    assert found.units == tuple(folds)
    assert found.tau == pytest.approx(1 / 3)
    raw = []
    for upper, lower in (("c", "b"), ("c", "a"), ("b", "a")):
        gaps = np.subtract(values[upper], values[lower])
        raw.append(2 * stats.t.sf(abs(gaps.mean()) / (gaps.std(ddof=1) * math.sqrt(1 / 3 + 1 / 2)), 2))
    shown = multipletests(raw, 0.05, "holm")[0]
    assert [found.num_as_published, len(found.reversed)] == [int(shown[1]) + int(shown[2]), int(shown[0])]
    assert "over 3 folds" in notes_of(table)[0]


# -- random tables against scipy and statsmodels -----------------------------------------


def expected_of(values, published, alpha):
    """The order by scipy and statsmodels, from rows that have every seed."""
    names = sorted(
        (name for name in published if None not in values[name]), key=lambda name: -published[name]
    )  # stable
    if len(names) < 3:
        return names, math.nan, [], 0, 0
    pairs = list(combinations(names, 2))
    means = {name: round(fmean(values[name]), 9) for name in names}
    raw = []
    for one, other in pairs:
        is_constant = len({round(x - y, 9) for x, y in zip(values[one], values[other], strict=True)}) == 1
        raw.append(1.0 if is_constant else stats.ttest_rel(values[one], values[other]).pvalue)
    shown = multipletests(raw, alpha, "holm")[0]
    as_published = reverse = 0
    for (one, other), is_shown in zip(pairs, shown, strict=True):
        if is_shown and published[one] != published[other]:
            as_published += means[one] > means[other]
            reverse += means[one] < means[other]
    there = [published[name] for name in names]
    taus = [
        stats.kendalltau(there, [values[name][seed] for name in names]).statistic for seed in range(len(values["r0"]))
    ]
    return names, stats.kendalltau(there, [means[name] for name in names]).statistic, taus, as_published, reverse


@pytest.mark.parametrize("salt", [*range(4), *(pytest.param(one, marks=pytest.mark.slow) for one in range(4, 30))])
def test_random_tables_are_those_of_scipy_and_statsmodels(salt, table_of):
    draw = random.Random(salt)
    num_rows, num_seeds = draw.randrange(3, 8), draw.randrange(2, 6)
    step = draw.choice([0.5, 0.01])  # coarse values tie
    effect = draw.choice([0.0, 1.0, 3.0])
    values = {
        f"r{at}": [round((80 + effect * at + draw.gauss(0, 1)) / step) * step for _ in range(num_seeds)]
        for at in range(num_rows)
    }
    for name in [*values][1:]:
        if draw.random() < 0.15:
            values[name][draw.randrange(num_seeds)] = None
    published = {name: float(draw.randrange(60, 66)) for name in values}
    alpha = draw.choice([0.05, 0.2])
    (found,) = published_orders(table_of(values, published, analysis={"alpha": alpha}))
    names, tau, taus, as_published, reverse = expected_of(values, published, alpha)
    assert found.rows == tuple(names)
    if math.isnan(tau):
        assert found.tau is None
        return
    assert found.tau == pytest.approx(tau)
    assert found.by_unit == tuple(None if math.isnan(one) else pytest.approx(one) for one in taus)
    if num_seeds < 3:
        assert (found.low, found.high) == (None, None)
        return
    assert (found.num_as_published, len(found.reversed)) == (as_published, reverse)
    assert found.low - 1e-12 <= found.tau <= found.high + 1e-12


@pytest.mark.parametrize("spreads", [(1, 1, 1, 1, 1), (0.2, 0.5, 1, 3, 5), (5, 1, 1, 1, 1)])
def test_the_range_covers_the_order_of_the_expected_values(spreads, table_of):
    """300 studies of 3 seeds at a level of 80 %, where the true order has one pair turned: the range covers its tau,
    and a pair that is said to be the other way is, in at least that share; a fifth of 300 and three standard errors."""
    generator = np.random.default_rng(20)
    expected = np.array([0.0, 2.0, 1.0, 3.0, 4.0])
    published = {f"r{at}": float(at) for at in range(5)}
    truth = stats.kendalltau(range(5), expected).statistic
    missed = wrong = 0
    for _ in range(300):
        drawn = (
            expected[:, None] + generator.normal(size=3) + generator.normal(size=(5, 3)) * np.array(spreads)[:, None]
        )
        values = {f"r{at}": list(map(float, row)) for at, row in enumerate(drawn)}
        (found,) = published_orders(table_of(values, published, analysis={"alpha": 0.2}))
        missed += not found.low - 1e-9 <= truth <= found.high + 1e-9
        wrong += any({one.upper, one.lower} != {"r1", "r2"} for one in found.reversed)
    assert missed <= 60 + 3 * math.sqrt(300 * 0.2 * 0.8)
    assert wrong <= 60 + 3 * math.sqrt(300 * 0.2 * 0.8)
