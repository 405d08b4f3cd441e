"""Main effects, interactions and aliases against hand computation, closed forms, a second fit, and statsmodels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from results import ablation_table
from results.effects.aliasing import alias_statements, aliases
from results.effects.design_matrix import design_of
from results.effects.effects import effects
from results.layout.footnotes import footnotes
from search_space.designs.aliasing import alias_structure
from search_space.parsing.errors import SpecError

pytestmark = pytest.mark.thorough

_NOISE = np.random.default_rng(7).normal(0, 0.2, (64, 8))


@pytest.fixture
def components_of(plan, planned, record):
    """A table of on/off components from its rows and a value for each row and seed."""

    def build(rows, value, *, names, seeds=(0, 1, 2), design="factorial"):
        variants, records = [], []
        for row in rows:
            label = "".join(map(str, row))
            components = dict(zip(names, map(bool, row), strict=True))
            variants.append(planned(label, components=components, is_baseline=not any(row)))
            records += [record(label, seed, float(value(row, seed))) for seed in seeds]
        return ablation_table(plan(*variants, seeds=list(seeds), design=design), records)

    return build


def _grid(count):
    return list(itertools.product((0, 1), repeat=count))


def test_effects_of_a_two_by_two_grid_by_hand(components_of):
    """Means 90, 92 (b), 93 (a), 97 (a and b). a: (93 + 97) / 2 - (90 + 92) / 2 = 4, b: (92 + 97 - 90 - 93) / 2 = 3,
    a : b: half of (97 - 92) - (93 - 90) = 1. A seed adds 0, 1 or 2 to every row. The residuals 0.1, -0.2, 0.1 of a row
    cancel in its mean, and with their signs alternating they cancel in the means of the seeds."""
    means = {(0, 0): 90.0, (0, 1): 92.0, (1, 0): 93.0, (1, 1): 97.0}
    residual = (0.1, -0.2, 0.1)
    table = components_of(
        _grid(2), lambda row, seed: means[row] + seed + residual[seed] * (-1) ** sum(row), names=("a", "b")
    )
    found = effects(table)
    assert [effect.name for effect in found.effects] == ["a", "b", "a : b"]
    assert [effect.estimate for effect in found.effects] == pytest.approx([4.0, 3.0, 1.0])
    # 12 trials - 1 mean - 2 seeds - 3 effects; residuals 4 * (0.01 + 0.04 + 0.01) = 0.24
    assert found.residual_df == 6
    assert found.residual_std == pytest.approx((0.24 / 6) ** 0.5)
    # An effect is a difference of two means of 6 trials: standard error 0.2 * sqrt(1/6 + 1/6)
    half = stats.t.ppf(0.975, 6) * 0.2 * (1 / 3) ** 0.5
    assert (found.effects[0].low, found.effects[0].high) == pytest.approx((4 - half, 4 + half))
    # t = 4 / (0.2 / sqrt(3)), F = t^2 = 1200, and Holm over three terms multiplies the smallest p-value by 3
    assert found.effects[0].f_value == pytest.approx(1200)
    assert found.effects[0].p == pytest.approx(2 * stats.t.sf(1200**0.5, 6))
    assert found.effects[0].p_corrected == pytest.approx(3 * found.effects[0].p)
    # sum of squares of a: 12 * (4 / 2)^2 = 48
    assert found.effects[0].share == pytest.approx(48 / 48.24)
    assert (found.num_trials, found.left_out, found.not_estimated) == (12, (), ())


def test_a_grid_of_three_is_a_least_squares_fit_of_signs(components_of):
    """The same model fitted by numpy: seeds as dummies, factors as -1 and +1, products of signs for interactions."""
    rows = _grid(3)
    table = components_of(
        rows, lambda row, seed: 90 + 2 * row[0] + row[1] * row[2] + seed + _NOISE[rows.index(row), seed], names="abc"
    )
    found = effects(table)
    signs = np.array([[2 * level - 1 for level in row] for row in rows for _ in range(3)])
    pairs = list(itertools.combinations(range(3), 2))
    seeds = np.array([[seed == which for which in range(3)] for _ in rows for seed in range(3)], dtype=float)
    matrix = np.hstack([seeds, signs, np.stack([signs[:, i] * signs[:, j] for i, j in pairs], axis=1)])
    values = np.array([record.metrics["top1"] for row in table.rows for record in row.records])
    coefficients, squares, *_ = np.linalg.lstsq(matrix, values, rcond=None)
    assert [effect.estimate for effect in found.effects] == pytest.approx(list(2 * coefficients[3:]))
    error = 2 * (squares[0] / (24 - 9) / 24) ** 0.5
    t_values = 2 * coefficients[3:] / error
    assert [effect.p for effect in found.effects] == pytest.approx(list(2 * stats.t.sf(np.abs(t_values), 15)))


def test_a_factor_of_three_levels_has_an_f_test_and_no_single_effect(plan, planned, record):
    """One factor at three levels over four seeds is a randomised block design: F by the textbook sums of squares."""
    variants = [planned("baseline", is_baseline=True)]
    variants += [planned(f"depth={depth}", changes={"arch.depth": depth}) for depth in (6, 8)]
    values = np.array([[90, 91, 92, 90.5], [91, 92.5, 93, 92], [91.5, 92, 94, 92]])
    records = [
        record(variant.name, seed, values[row, seed], spec={"arch": {"depth": 4}})
        for row, variant in enumerate(variants)
        for seed in range(4)
    ]
    found = effects(ablation_table(plan(*variants, seeds=[0, 1, 2, 3]), records))
    assert found.design.levels == {"arch.depth": ("4", "6", "8")}
    centred = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0, keepdims=True) + values.mean()
    between = 4 * ((values.mean(axis=1) - values.mean()) ** 2).sum()
    expected = (between / 2) / ((centred**2).sum() / 6)
    assert (found.effects[0].df, found.effects[0].estimate) == (2, None)
    assert found.effects[0].f_value == pytest.approx(expected)
    assert found.effects[0].p == pytest.approx(stats.f.sf(expected, 2, 6))


def test_a_half_fraction_says_what_it_cannot_tell_apart(components_of):
    """Defining relation I = abc: a = bc, b = ac, c = ab. Each estimate is the sum of the two effects."""
    rows = [row for row in _grid(3) if sum(row) % 2 == 1]
    table = components_of(
        rows, lambda row, seed: 90 + row[0] + seed + _NOISE[rows.index(row), seed], names="abc", design="fractional"
    )
    assert alias_statements(table) == ("a = b : c; b = a : c; c = a : b",)
    found = effects(table)
    assert [effect.name for effect in found.effects] == ["a", "b", "c"]
    assert found.effects[0].aliased_with == pytest.approx({("b", "c"): 1.0})
    assert found.not_estimated == (("a", "b"), ("a", "c"), ("b", "c"))


def test_the_other_half_fraction_turns_the_signs(components_of):
    """I = -abc: the data show the difference of an effect and its alias."""
    rows = [row for row in _grid(3) if sum(row) % 2 == 0]
    table = components_of(rows, lambda row, seed: 90.0, names="abc", design="fractional")
    assert alias_statements(table) == ("a = -b : c; b = -a : c; c = -a : b",)
    assert "Aliased by design: a = -b : c; b = -a : c; c = -a : b." in footnotes(table)


def test_chains_of_aliases_in_a_quarter_fraction(components_of):
    """2^(5-2) with d = ab and e = ac in signs: a = bd = ce, b = ad, c = ae, d = ab, e = ac, bc = de, be = cd."""
    rows = [(a, b, c, int(a == b), int(a == c)) for a, b, c in _grid(3)]
    table = components_of(rows, lambda row, seed: 90.0, names="abcde", design="fractional")
    assert alias_statements(table) == (
        "a = b : d = c : e; b = a : d; c = a : e; d = a : b; e = a : c; b : c = d : e; b : e = c : d",
    )


def test_a_full_grid_has_no_aliases(components_of):
    assert aliases(design_of(components_of(_grid(3), lambda row, seed: 90.0, names="abc"))) == {}


def test_plackett_burman_main_effects_are_aliased_by_a_third(components_of):
    """12 runs, 11 factors: the cyclic rows of Plackett and Burman 1946. Every main effect correlates by 1/3 with the 45
    interactions of the ten others, and with none of its own."""
    generator = [1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0]
    rows = [tuple(generator[(index - shift) % 11] for index in range(11)) for shift in range(11)] + [(0,) * 11]
    names = "abcdefghijk"
    pairs = aliases(design_of(components_of(rows, lambda row, seed: 90.0, names=names, seeds=(0,))))
    mains = {pair: size for pair, size in pairs.items() if len(pair[0]) == 1}
    assert len(mains) == 11 * 45
    assert [abs(size) for size in mains.values()] == pytest.approx([1 / 3] * len(mains))
    assert all(one[0] not in other for one, other in mains)


@pytest.mark.parametrize("generator", ["ab", "abc", "plackett-burman"])
def test_planned_aliases_equal_those_of_the_table(components_of, generator):
    """`archsweep plan` counts bits, a table correlates columns: over the rows of a balanced design they agree."""
    if generator == "plackett-burman":
        first = [1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0]
        rows = [tuple(first[(index - shift) % 11] for index in range(11)) for shift in range(11)] + [(0,) * 11]
    else:  # the last factor is on where an even number of the named ones is off
        chosen = ["abc".index(name) for name in generator]
        rows = [(*row, 1 - sum(1 - row[index] for index in chosen) % 2) for row in _grid(3)]
    names = "abcdefghijk"[: len(rows[0])]
    found = aliases(design_of(components_of(rows, lambda row, seed: 90.0, names=names, seeds=(0,))))
    planned = alias_structure([{name: bool(on) for name, on in zip(names, row, strict=True)} for row in rows])
    both_ways = {one: {} for one in planned.aliases}
    for (one, other), size in found.items():
        both_ways[one][other] = both_ways[other][one] = pytest.approx(size)
    assert {one: {alias.effect: alias.weight for alias in links} for one, links in planned.aliases.items()} == both_ways
    assert found


def test_a_hole_in_the_grid_is_an_alias_too(components_of):
    """A forbidden combination unbalances a full grid. Without (1, 1) the factors a and b lean on each other: over the
    three rows left, the correlation of (0, 0, 1) and (0, 1, 0) is -1/2."""
    table = components_of([(0, 0), (0, 1), (1, 0)], lambda row, seed: 90.0, names="ab")
    assert aliases(design_of(table))[("a",), ("b",)] == pytest.approx(-0.5)


def test_variants_that_lack_a_seed_are_left_out_and_named(components_of):
    rows = _grid(2)
    table = components_of(
        rows,
        lambda row, seed: (
            float("nan") if (row, seed) == ((1, 1), 2) else 90 + row[0] + seed + _NOISE[rows.index(row), seed]
        ),
        names="ab",
    )
    found = effects(table)
    assert (found.num_trials, found.left_out) == (9, ("11",))
    assert found.not_estimated == (("a", "b"),)


def test_too_few_trials_are_an_error(components_of):
    """Two rows of one seed: the mean and one effect leave nothing for the noise."""
    table = components_of([(0,), (1,)], lambda row, seed: 90.0 + row[0], names="a", seeds=(0,))
    with pytest.raises(SpecError) as caught:
        effects(table)
    assert str(caught.value) == (
        "refiner_expansion: 2 complete trials are too few for the effects of 1 factors\n"
        "  effects need all seeds of a variant, and more trials than effects"
    )


def test_a_table_without_factors_is_an_error(plan, planned, record):
    table = ablation_table(plan(planned("baseline", is_baseline=True), seeds=[0]), [record("baseline", 0, 90.0)])
    with pytest.raises(SpecError) as caught:
        effects(table)
    assert str(caught.value) == "refiner_expansion: no factor has two levels: there are no effects to estimate"
