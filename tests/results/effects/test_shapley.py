"""Shapley values against closed forms and against a second implementation: all k! orders, in fractions."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from statistics import fmean, stdev

import pytest
from scipy import stats

from results import ablation_table
from results.effects.shapley import marginals, noise_factor, shapley
from results.layout.footnotes import footnotes
from search_space import SpecError
from search_space.designs.shapley import sampled_orders


def coalitions(names):
    return [frozenset(each) for size in range(len(names) + 1) for each in itertools.combinations(names, size)]


def by_all_orders(names, game):
    """The definition: the mean marginal contribution over every order."""
    found = dict.fromkeys(names, Fraction(0))
    for order in itertools.permutations(names):
        for place, name in enumerate(order):
            before = frozenset(order[:place])
            found[name] += game[before | {name}] - game[before]
    return {name: total / math.factorial(len(names)) for name, total in found.items()}


def by_terms(terms, game):
    return {name: sum(t.weight * (game[t.without | {name}] - game[t.without]) for t in terms[name]) for name in terms}


def scattered(names, salt=0):
    """A game without any structure, of whole numbers."""
    numbers = ((7919 * (index + salt) ** 2 + 31 * salt) % 1009 for index in range(2 ** len(names)))
    return dict(zip(coalitions(names), map(Fraction, numbers), strict=True))


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 6])
def test_exact_values_are_the_mean_over_every_order(num):
    names = "abcdef"[:num]
    game = scattered(names, salt=num)
    found = by_terms(marginals(names), game)
    assert found == by_all_orders(names, game)
    assert sum(found.values()) == game[frozenset(names)] - game[frozenset()]


def test_all_orders_as_a_sample_are_exact():
    game = scattered("abcd")
    assert by_terms(marginals("abcd", sampled_orders("abcd", 24, 0)), game) == by_all_orders("abcd", game)


def test_values_of_sampled_orders_add_up_exactly():
    game = scattered("abcdef", salt=3)
    found = by_terms(marginals("abcdef", sampled_orders("abcdef", 8, 1)), game)
    assert sum(found.values()) == game[frozenset("abcdef")] - game[frozenset()]


def test_a_symmetric_pair_is_exact_in_one_antithetic_pair_of_orders():
    """Two components: (a, b) and (b, a) are all orders."""
    game = scattered("ab")
    assert by_terms(marginals("ab", ["ab", "ba"]), game) == by_all_orders("ab", game)


def test_axioms_by_hand():
    """v = 2 a + 3 b, plus 4 if a and c are on: a has 2 + 2, b 3, c 2, and d, which changes nothing, 0."""
    game = {s: Fraction(2 * ("a" in s) + 3 * ("b" in s) + 4 * ({"a", "c"} <= s)) for s in coalitions("abcd")}
    assert by_terms(marginals("abcd"), game) == {"a": 4, "b": 3, "c": 2, "d": 0}


def test_of_an_interaction_of_three_each_has_a_third():
    game = {s: Fraction(9 * (s >= {"a", "b", "c"})) for s in coalitions("abc")}
    assert by_terms(marginals("abc"), game) == {"a": 3, "b": 3, "c": 3}


@pytest.mark.parametrize(("num", "square"), [(1, 1), (2, 1 / 2), (3, 5 / 18), (4, 1 / 6)])
def test_noise_of_a_value_by_hand(num, square):
    """k = 3: weights 1/3, 1/6 twice, 1/3: 1/9 + 2/36 + 1/9 = 10/36; k = 4: 1/16 + 3/144 + 3/144 + 1/16 = 1/6."""
    assert noise_factor(marginals("abcd"[:num])["a"]) == pytest.approx(math.sqrt(square))


SEEDS = (0, 1, 2, 3)


@pytest.fixture
def table_of(plan, planned, record):
    """The table of a game for each seed; `lost` are (coalition, seed) that failed, `dropped` coalitions."""

    def build(names, game, *, lost=(), dropped=(), orders=(), seeds=SEEDS, trained=None, **fields):
        trained = coalitions(names) if trained is None else trained
        text = {each: "".join(sorted(each)) or "-" for each in trained}
        variants = [
            planned(
                text[each],
                components={name: name in each for name in names},
                is_baseline=not each,
                dropped="params_m < 1" if each in dropped else "",
            )
            for each in trained
        ]
        records = [
            record(text[each], seed, None if (each, seed) in lost else float(game(each, seed)))
            for each in trained
            if each not in dropped
            for seed in seeds
        ]
        whole = {"design": "shapley", "seeds": list(seeds), "orders": [list(order) for order in orders], **fields}
        return ablation_table(plan(*variants, **whole), records)

    return build


def noisy(each, seed):
    """a 2, b 1, and 1.5 together; a seed's own level, and a spread of every trial."""
    jitter = ((37 * len(each) + 11 * sum(map(ord, each)) + 53 * seed * (1 + len(each))) % 17) / 10
    return 80 + 3 * seed + 2 * ("a" in each) + ("b" in each) + 1.5 * ({"a", "b"} <= set(each)) + jitter


def by_all_orders_of_noisy(names, seed):
    game = {each: Fraction(noisy(each, seed)) for each in coalitions(names)}
    return {name: float(value) for name, value in by_all_orders(names, game).items()}


def test_values_of_a_table_are_those_of_each_seed(table_of):
    """Mean, interval and p-value by scipy of the values that the orders of each seed give."""
    found = shapley(table_of("abc", noisy))
    for index, name in enumerate("abc"):
        own = [by_all_orders_of_noisy("abc", seed)[name] for seed in SEEDS]
        value = found.values[index].value
        half = stats.t.ppf(0.975, 3) * stdev(own) / 2
        assert value.differences == pytest.approx(own)
        assert (value.mean, value.low, value.high) == pytest.approx((fmean(own), fmean(own) - half, fmean(own) + half))
        assert found.values[index].p == pytest.approx(stats.ttest_1samp(own, 0).pvalue)
    assert [one.p_corrected for one in found.values] == pytest.approx(holm([one.p for one in found.values]))
    assert (found.num_orders, found.num_coalitions, found.missing) == (0, 8, ())


def holm(p_values):
    from statsmodels.stats.multitest import multipletests

    return list(multipletests(p_values, method="holm")[1])


def test_values_add_up_to_all_on_minus_all_off_at_every_seed(table_of):
    found = shapley(table_of("abcd", noisy))
    whole = [noisy(frozenset("abcd"), seed) - noisy(frozenset(), seed) for seed in SEEDS]
    sums = [math.fsum(one.value.differences[index] for one in found.values) for index in range(len(SEEDS))]
    assert sums == pytest.approx(whole, abs=1e-12)
    assert found.whole.mean == pytest.approx(fmean(whole))


def test_an_additive_game_agrees_with_both_designs_of_one_component_at_a_time(table_of):
    found = shapley(table_of("ab", lambda each, seed: 90 + seed + 2 * ("a" in each) + (1 + seed / 10) * ("b" in each)))
    for one, effect in zip(found.values, (2, 1.15), strict=True):
        assert [one.value.mean, one.alone.mean, one.in_full.mean] == pytest.approx([effect] * 3)
        assert [one.beyond_alone.mean, one.beyond_in_full.mean] == pytest.approx([0, 0], abs=1e-12)


def test_a_pure_interaction_is_between_the_two_designs(table_of):
    """Nothing alone, 4 beside the other: half of it each, 2 above alone and 2 below beside."""
    found = shapley(table_of("ab", lambda each, seed: 90 + seed + 4 * (len(each) == 2)))
    for one in found.values:
        assert (one.alone.mean, one.value.mean, one.in_full.mean) == pytest.approx((0, 2, 4))
        assert (one.beyond_alone.mean, one.beyond_in_full.mean) == pytest.approx((2, -2))
        assert one.p is None  # the same at every seed


def test_a_failed_trial_takes_its_seed_from_every_value(table_of):
    found = shapley(table_of("ab", noisy, lost=[(frozenset("a"), 1)]))
    kept = [0, 2, 3]
    for one in found.values:
        own = [by_all_orders_of_noisy("ab", seed)[one.component] for seed in kept]
        assert one.value.differences == pytest.approx(own)
    (missing,) = found.missing
    assert (missing.name, missing.reason, missing.num_values) == ("+ a", "seed 1 failed", 3)
    assert found.whole.num_pairs == 3


def test_a_dropped_coalition_leaves_no_value_and_is_named(table_of):
    table = table_of("ab", noisy, dropped=[frozenset("b")])
    found = shapley(table)
    assert [one.value for one in found.values] == [None, None]
    assert found.whole is None
    assert footnotes(table)[-3:-1] == (
        "Shapley values: the mean gain of a component over the orders in which components can be added, exact, from "
        "all 4 coalitions. Mean over the seeds [95 % t-interval, unadjusted]; p-values corrected over the components "
        "(Holm).",
        "Not computable: a, b. A value needs all of its coalitions at the same seed; of these lack some: + b (dropped: "
        "params_m < 1).",
    )


def test_other_epochs_and_missing_rows_are_not_compared(plan, planned, record):
    names = {"-": (), "a": ("a",), "b": ("b",)}
    variants = [
        planned(text, components={"a": "a" in on, "b": "b" in on}, is_baseline=not on) for text, on in names.items()
    ]
    epochs = {"-": 20, "a": 40, "b": 20}
    records = [record(text, seed, 90.0 + seed, epochs=epochs[text]) for text in names for seed in (0, 1, 2)]
    found = shapley(ablation_table(plan(*variants, design="shapley"), records))
    assert [(one.name, one.reason) for one in found.missing] == [
        ("+ a", "trained for another number of epochs"),
        ("+ a + b", "not among the variants"),
    ]


ORDERS = sampled_orders("abcd", 4, 0)


def passed(orders):
    return sorted({frozenset(order[:size]) for order in orders for size in range(5)}, key=lambda s: (len(s), sorted(s)))


def test_sampled_values_are_the_means_over_their_orders(table_of):
    found = shapley(table_of("abcd", noisy, orders=ORDERS, trained=passed(ORDERS)))
    assert (found.num_orders, found.num_coalitions) == (4, len(passed(ORDERS)))
    for one in found.values:
        gains = {order: [gain(order, one.component, seed) for seed in SEEDS] for order in ORDERS}
        assert one.value.differences == pytest.approx([fmean(column) for column in zip(*gains.values(), strict=True)])
        # The error of sampling: pairs of an order and its reverse, at the mean over the seeds, 2 of the 12 pairs.
        pairs = [fmean([*gains[ORDERS[at]], *gains[ORDERS[at + 1]]]) for at in (0, 2)]
        assert one.order_error == pytest.approx(stdev(pairs) / math.sqrt(2) * math.sqrt(10 / 12))
    whole = fmean(noisy(frozenset("abcd"), seed) - noisy(frozenset(), seed) for seed in SEEDS)
    assert sum(one.value.mean for one in found.values) == pytest.approx(whole)


def gain(order, name, seed):
    before = frozenset(order[: order.index(name)])
    return noisy(before | {name}, seed) - noisy(before, seed)


def test_orders_sampled_over_and_over_are_unbiased_and_vary_as_their_error_says(table_of):
    """1000 samples of 6 of the 24 orders: mean within 4 standard errors of the exact value; the mean of the squared
    errors is the variance of the values, within 10 %."""
    exact = shapley(table_of("abcd", noisy)).values[0].value.mean
    found = []
    for seed in range(1000):
        orders = sampled_orders("abcd", 6, seed)
        means = {o: fmean(gain(o, "a", each) for each in SEEDS) for o in orders}
        pairs = [(means[first] + means[second]) / 2 for first, second in zip(orders[::2], orders[1::2], strict=True)]
        found.append((fmean(pairs), stdev(pairs) ** 2 / 3 * (9 / 12)))
    values = [value for value, _ in found]
    assert fmean(values) == pytest.approx(exact, abs=4 * stdev(values) / math.sqrt(1000))
    assert fmean(error for _, error in found) == pytest.approx(stdev(values) ** 2, rel=0.1)


def test_a_value_is_lost_only_where_its_own_coalitions_are(table_of):
    """The order a b c d and its reverse: without {a, b} the gains of b and c are lost, those of a and d are not."""
    orders = ["abcd", "dcba", "bdac", "cadb"]
    found = shapley(table_of("abcd", noisy, orders=orders, trained=passed(orders), dropped=[frozenset("ab")]))
    assert [one.component for one in found.values if one.value is None] == ["b", "c"]
    assert found.whole is None


def test_rows_that_were_not_trained_leave_the_agreement_open(table_of):
    """No order begins or ends with a, so that neither its gain alone nor that beside all others is known."""
    orders = ["bacd", "dcab", "bcad", "dacb"]
    found = shapley(table_of("abcd", noisy, orders=orders, trained=passed(orders)))
    of_a, of_b = found.values[:2]
    assert (of_a.alone, of_a.in_full, of_a.beyond_alone) == (None, None, None)
    assert of_b.alone.mean == pytest.approx(fmean(noisy({"b"}, s) - noisy(set(), s) for s in SEEDS))


def test_tables_of_other_designs_have_no_values(table_of):
    with pytest.raises(SpecError, match="need the design 'shapley' without blocks, not 'cumulative'"):
        shapley(table_of("ab", noisy, design="cumulative"))


def test_one_seed_has_values_and_nothing_more(table_of):
    found = shapley(table_of("ab", noisy, seeds=(0,)))
    assert [(one.value.low, one.p, one.p_corrected) for one in found.values] == [(None, None, None)] * 2
