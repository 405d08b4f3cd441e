"""Effects of tables with holes, level means, lack of fit, and what cannot be estimated: by hand and by a second fit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from results import ablation_table
from results.effects.effects import effects
from search_space.parsing.errors import SpecError

pytestmark = pytest.mark.thorough

_NOISE = np.random.default_rng(7).normal(0, 0.2, (64, 8))


@pytest.fixture
def components_of(plan, planned, record):
    """A table of on/off components from its rows and a value for each row and seed."""

    def build(rows, value, *, names, seeds=(0, 1, 2)):
        variants, records = [], []
        for row in rows:
            label = "".join(map(str, row))
            components = dict(zip(names, map(bool, row), strict=True))
            variants.append(planned(label, components=components, is_baseline=not any(row)))
            records += [record(label, seed, float(value(row, seed))) for seed in seeds]
        return ablation_table(plan(*variants, seeds=list(seeds), design="factorial"), records)

    return build


@pytest.fixture
def three_by_two(plan, planned, record):
    """depth 1, 2, 3 x heads 1, 2 with three seeds; trials named in `gone` failed."""

    def build(gone):
        variants, records = [], []
        for depth, heads in itertools.product((1, 2, 3), (1, 2)):
            changes = {"arch.depth": depth} if depth > 1 else {}
            changes |= {"arch.heads": heads} if heads > 1 else {}
            name = f"{depth}{heads}"
            variants.append(planned(name, changes=changes, is_baseline=not changes))
            for seed in range(3):
                value = 90 + depth + heads + _NOISE[2 * depth + heads, seed]
                lost = (name, seed) in gone
                records.append(record(name, seed, None if lost else value, spec={"arch": {"depth": 1, "heads": 1}}))
        return ablation_table(plan(*variants, design="factorial"), records)

    return build


def _grid(count):
    return list(itertools.product((0, 1), repeat=count))


def test_level_means_are_adjusted_for_a_hole_in_the_grid(components_of):
    """Without (1, 1): 91, 93 (b), 94 (a), so a adds 3 and b adds 2, and the hole would be 96. Means over both levels of
    the other factor: a: 92 and 95, b: 92.5 and 94.5. The raw mean with a is 94, that with b 93: the other factor is
    never on there. The difference of two means is the effect."""
    means = {(0, 0): 91.0, (0, 1): 93.0, (1, 0): 94.0}
    noise = dict(zip(means, ((0.1, -0.2, 0.1), (-0.1, 0.0, 0.1), (0.2, -0.1, -0.1)), strict=True))
    found = effects(components_of(list(means), lambda row, seed: means[row] + noise[row][seed], names="ab"))
    assert [one.mean for one in found.level_means["a"]] == pytest.approx([92.0, 95.0])
    assert [one.mean for one in found.level_means["b"]] == pytest.approx([92.5, 94.5])
    assert [one.num_trials for one in found.level_means["a"]] == [6, 3]
    assert [effect.estimate for effect in found.effects] == pytest.approx([3.0, 2.0])
    # With y11 filled in as y10 + y01 - y00, level 0 of a is (y00 + y01) / 2 and level 1 is y10 + (y01 - y00) / 2; each
    # of them is a mean of three trials.
    half = stats.t.ppf(0.975, found.residual_df) * found.residual_std / 3**0.5
    spans = [(one.high - one.low) / 2 for one in found.level_means["a"]]
    assert spans == pytest.approx([half * 0.5**0.5, half * 1.5**0.5])


def test_level_means_of_a_full_grid_are_the_raw_means(components_of):
    rows = _grid(2)
    table = components_of(rows, lambda row, seed: 90 + row[0] + seed + _NOISE[rows.index(row), seed], names="ab")
    found = effects(table)
    values = np.array([[record.metrics["top1"] for record in row.records] for row in table.rows])
    half = stats.t.ppf(0.975, found.residual_df) * found.residual_std / 6**0.5
    for place, level in itertools.product((0, 1), (0, 1)):
        one = found.level_means["ab"[place]][level]
        raw = values[[row[place] == level for row in rows]].mean()
        assert (one.mean, one.low, one.high) == pytest.approx((raw, raw - half, raw + half))


def test_an_incomplete_level_does_not_remove_its_factor(three_by_two):
    """Depth 3 lacks a seed in both its rows; depths 1 and 2 are a 2 x 2 grid."""
    found = effects(three_by_two({("31", 0), ("32", 2)}))
    assert found.design.levels == {"arch.depth": ("1", "2"), "arch.heads": ("1", "2")}
    assert [effect.name for effect in found.effects] == ["arch.heads", "arch.depth", "arch.heads : arch.depth"]
    assert (found.left_out, found.single_level) == (("31", "32"), ())


def test_a_factor_with_one_complete_level_is_named(three_by_two):
    found = effects(three_by_two({("12", 0), ("22", 0), ("32", 0)}))
    assert found.design.levels == {"arch.depth": ("1", "2", "3")}
    assert found.single_level == ("arch.heads",)


def test_no_complete_pair_of_levels_is_an_error(three_by_two):
    with pytest.raises(SpecError) as caught:
        effects(three_by_two({(name, 1) for name in ("12", "21", "22", "31", "32")}))
    assert str(caught.value) == (
        "refiner_expansion: no factor has two levels among the variants that have all seeds (1 of 6): "
        "there are no effects to estimate"
    )


def test_no_complete_variant_is_an_error(three_by_two):
    gone = {(f"{depth}{heads}", 1) for depth in (1, 2, 3) for heads in (1, 2)}
    with pytest.raises(SpecError) as caught:
        effects(three_by_two(gone))
    assert str(caught.value) == (
        "refiner_expansion: no variant has completed all its seeds: there are no effects to estimate"
    )


def test_a_grid_without_its_baseline_still_has_effects(three_by_two):
    """Differences need the baseline, effects only need levels: it is one hole in the grid."""
    found = effects(three_by_two({("11", 0)}))
    assert (found.num_trials, found.left_out) == (15, ("11",))
    assert found.design.levels["arch.depth"] == ("1", "2", "3")


def test_a_grid_that_the_terms_describe_has_no_lack_of_fit(components_of):
    rows = _grid(2)
    table = components_of(rows, lambda row, seed: 90 + _NOISE[rows.index(row), seed], names="ab")
    assert effects(table).lack_of_fit is None


@pytest.mark.parametrize("bits", [0, 1])
def test_effects_are_not_tested_against_rounding_errors(components_of, bits):
    """Equal values at every seed, or equal up to the last bit, have no noise: F was infinite, or of nothing."""
    bit = bits * np.spacing(90.1)
    table = components_of(_grid(2), lambda row, seed: 90.1 + row[0] + bit * ((3 * sum(row) + seed) % 2), names="ab")
    with pytest.raises(SpecError, match="no noise is left to test effects against"):
        effects(table)


def test_a_main_effect_is_never_taken_for_noise(components_of):
    """Three rows of one seed leave one degree of freedom after `a`: it is the effect of b, not noise."""
    table = components_of(
        [(0, 0), (0, 1), (1, 0)], lambda row, seed: 90.0 + row[0] + 2 * row[1], names="ab", seeds=(0,)
    )
    with pytest.raises(SpecError, match="3 complete trials are too few for the effects of 2 factors"):
        effects(table)
