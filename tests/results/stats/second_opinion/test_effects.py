"""Effects of random factorial tables against least squares of statsmodels, and contributions against scipy.

The models are fitted with the levels as dummies, not with the coding of `results.effects`; effects and means are read
off their predictions for the whole grid. Which terms a design can estimate is found by ranks.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from results import PlannedVariant, RunPlan, TrialRecord, ablation_table
from results.effects.contributions import contributions
from results.effects.effects import Effects, effects
from results.table.table import AblationTable
from search_space.parsing.errors import SpecError

pytestmark = pytest.mark.thorough

SHAPES = [(2,), (3,), (5,), (2, 2), (3, 2), (2, 2, 2), (3, 4, 2), (2, 2, 3, 2), (2, 2, 2, 2)]
Row = tuple[int, ...]
Terms = list[tuple[int, ...]]


class Grid:
    """A factorial table as numbers: rows of levels, and their values by seed."""

    def __init__(self, number: int) -> None:
        random = np.random.default_rng([29, number])
        self.shape: Row = SHAPES[number % len(SHAPES)]
        num_seeds = int(random.choice([1, 2, 3, 5, 10]))
        rows = list(itertools.product(*map(range, self.shape)))
        num_gone = min(int(random.choice([0, 0, 1, 3])), max(0, len(rows) - 3))
        gone = set(random.permutation(np.arange(1, len(rows)))[:num_gone].tolist())
        self.rows: list[Row] = [row for index, row in enumerate(rows) if index not in gone]
        level, noise = random.choice([0.0, 90.0, 1e6]), 10 ** random.uniform(-3, 1)
        of_rows = random.normal(0, noise * random.choice([0, 1, 5]), len(self.rows))
        self.values = level + of_rows[:, None] + random.normal(0, noise, (len(self.rows), num_seeds))
        self.values += random.normal(0, 3 * noise, num_seeds)
        self.correction = str(random.choice(["holm", "bh", "none", "dunnett"]))
        self.alpha = float(random.choice([0.05, 0.01, 0.1]))
        # A row that lacks a seed does not enter.
        loses = random.random() < 0.2 and num_seeds > 1 and len(self.rows) > 2
        self.lacks = int(random.integers(1, len(self.rows))) if loses else None

    @property
    def whole(self) -> list[int]:
        return [index for index in range(len(self.rows)) if index != self.lacks]

    def analysed(self) -> Effects:
        names = [f"arch.x{index}" for index in range(len(self.shape))]
        variants, records = [], []
        for index, row in enumerate(self.rows):
            changes = {name: level for name, level in zip(names, row, strict=True) if level}
            key = f"v{index}"
            variants.append(PlannedVariant(name=key, variant_id=key, changes=changes, is_baseline=not changes))
            for seed, value in enumerate(self.values[index]):
                if (index, seed) != (self.lacks, 0):
                    records.append(
                        TrialRecord(
                            **{"trial_id": f"{key}-{seed}", "variant_id": key, "variant": key, "seed": seed},
                            spec={"arch": dict.fromkeys((f"x{at}" for at in range(len(self.shape))), 0)},
                            status="completed",
                            metrics={"loss": float(value)},
                        )
                    )
        plan = {"sweep": "grid", "design": "factorial", "metric": "loss", "seeds": list(range(self.values.shape[1]))}
        plan |= {"variants": variants, "analysis": {"correction": self.correction, "alpha": self.alpha}}
        return effects(ablation_table(RunPlan.model_validate(plan), records))


def dummies(rows: list[Row], term: Row, levels: list[list[int]]) -> np.ndarray:
    """A column for every combination of levels of the term but the first of each factor."""
    combinations = list(itertools.product(*(levels[at][1:] for at in term)))
    return np.array([[float(tuple(row[at] for at in term) == each) for each in combinations] for row in rows])


class Model:
    """Seeds as blocks, and terms as dummies."""

    def __init__(self, grid: Grid, terms: Terms) -> None:
        self.terms, self.num_seeds = terms, grid.values.shape[1]
        self.rows = [grid.rows[index] for index in grid.whole]
        self.levels = [sorted({row[at] for row in self.rows}) for at in range(len(grid.shape))]
        self.y = grid.values[grid.whole]
        self.of_seeds = self.y.mean(axis=0)  # what the blocks explain; large values would round the noise

    @functools.cached_property
    def fit(self):
        return sm.OLS((self.y - self.of_seeds).ravel(), self.design(self.rows)).fit()

    @property
    def rank(self) -> int:
        return int(np.linalg.matrix_rank(self.design(self.rows)))

    def design(self, rows: list[Row]) -> np.ndarray:
        columns = np.hstack([np.zeros((len(rows), 0)), *(dummies(rows, term, self.levels) for term in self.terms)])
        seeds = np.tile(np.eye(self.num_seeds), (len(rows), 1))
        return np.hstack([seeds, np.repeat(columns, self.num_seeds, axis=0)])

    def adjusted(self, at: dict[int, int]) -> np.ndarray:
        """Weights of the parameters in the mean prediction at these levels, all others of the grid alike."""
        grid = [
            row for row in itertools.product(*self.levels) if all(row[factor] == level for factor, level in at.items())
        ]
        return self.design(grid).mean(axis=0)


def check(number: int) -> str:
    grid = Grid(number)
    try:
        found = grid.analysed()
    except SpecError as err:
        return str(err)
    # Factors in the order of the table, whose levels are those that entered.
    places = {name: int(name.removeprefix("arch.x")) for name in found.design.levels}
    every: Terms = [*((at,) for at in places.values()), *itertools.combinations(places.values(), 2)]
    terms: Terms = []
    for term in every:  # main effects first, each where it raises the rank and leaves a degree of freedom
        smaller, wider = Model(grid, terms), Model(grid, [*terms, term])
        num = math.prod(len(wider.levels[at]) - 1 for at in term)
        has_mains = len(term) == 1 or all((at,) in terms for at in term)
        if has_mains and wider.rank == smaller.rank + num and wider.rank < wider.y.size:
            terms.append(term)
    assert [tuple(places[name] for name in effect.term) for effect in found.effects] == terms
    assert len(found.not_estimated) == len(every) - len(terms)
    full = Model(grid, terms)
    rows, levels = full.rows, full.levels
    assert found.residual_df == full.fit.df_resid
    assert found.residual_std == pytest.approx(math.sqrt(full.fit.mse_resid), rel=1e-10)
    half = stats.t.isf(grid.alpha / 2, full.fit.df_resid)
    for effect, term in zip(found.effects, terms, strict=True):
        small = [other for other in terms if not set(term) <= set(other)]
        model = Model(grid, [*small, term])
        df = math.prod(len(levels[at]) - 1 for at in term)
        squares = float(np.sum((model.fit.fittedvalues - Model(grid, small).fit.fittedvalues) ** 2))
        slack = 1e-25 * float(np.sum(model.fit.model.endog**2)) / full.fit.mse_resid  # of an effect of 0
        f_value = squares / df / full.fit.mse_resid
        assert effect.df == df
        assert effect.f_value == pytest.approx(f_value, rel=1e-10, abs=slack)
        assert effect.p == pytest.approx(stats.f.sf(effect.f_value, df, full.fit.df_resid), rel=1e-10)
        assert effect.p == pytest.approx(stats.f.sf(f_value, df, full.fit.df_resid), rel=1e-9, abs=1e-9)
        assert effect.share == pytest.approx(squares / (squares + full.fit.ssr), rel=1e-10, abs=1e-12)
        wider = math.sqrt(full.fit.mse_resid / model.fit.mse_resid)
        scale = 1e-12 * float(np.abs(full.y - full.of_seeds).max())
        # What the predictions at two levels differ by; of an interaction, half of how the difference differs.
        is_two_level = all(len(levels[at]) == 2 for at in term)
        assert (effect.estimate is not None) == is_two_level
        if is_two_level:
            signs = itertools.product((-1, 1), repeat=len(term))
            weights = np.sum(
                [
                    math.prod(sign) * model.adjusted({at: levels[at][s > 0] for at, s in zip(term, sign, strict=True)})
                    for sign in signs
                ],
                axis=0,
            ) / 2 ** (len(term) - 1)
            test = model.fit.t_test(weights)
            error = float(test.sd.item()) * wider
            assert effect.estimate == pytest.approx(float(test.effect.item()), rel=1e-10, abs=scale)
            assert effect.low == pytest.approx(float(test.effect.item()) - half * error, rel=1e-10, abs=scale)
            assert effect.high == pytest.approx(float(test.effect.item()) + half * error, rel=1e-10, abs=scale)
        for place, mean in enumerate(found.level_means.get(effect.term[0], ()) if len(term) == 1 else ()):
            level = int(mean.level)
            test = model.fit.t_test(model.adjusted({term[0]: level}))
            middle, error = float(test.effect.item()) + float(model.of_seeds.mean()), float(test.sd.item()) * wider
            assert place == levels[term[0]].index(level)
            assert mean.mean == pytest.approx(middle, rel=1e-10, abs=scale)
            assert mean.low == pytest.approx(middle - half * error, rel=1e-10, abs=scale)
            assert mean.high == pytest.approx(middle + half * error, rel=1e-10, abs=scale)
            assert mean.num_trials == sum(row[term[0]] == level for row in rows) * grid.values.shape[1]
    raw = [effect.p for effect in found.effects]
    method = {"holm": "holm", "dunnett": "holm", "bh": "fdr_bh"}.get(grid.correction)
    after = raw if method is None else multipletests(raw, method=method)[1]
    assert [effect.p_corrected for effect in found.effects] == pytest.approx(list(after), rel=1e-12)
    check_lack_of_fit(grid, full, found)
    return ""


def check_lack_of_fit(grid: Grid, full: Model, found: Effects) -> None:
    """Against the model with a mean of its own for every variant."""
    y = grid.values[grid.whole]
    num, seeds = y.shape
    cells = np.hstack([np.tile(np.eye(seeds), (num, 1)), np.repeat(np.eye(num)[:, 1:], seeds, axis=0)])
    fit = sm.OLS((y - full.of_seeds).ravel(), cells).fit()
    df = full.fit.df_resid - fit.df_resid
    if df <= 0 or fit.df_resid <= 0:
        assert found.lack_of_fit is None
        return
    assert found.lack_of_fit is not None
    assert (found.lack_of_fit.df, found.lack_of_fit.noise_df) == (df, fit.df_resid)
    f_value, p, _ = fit.compare_f_test(full.fit)
    assert found.lack_of_fit.f_value == pytest.approx(f_value, rel=1e-9, abs=1e-11)
    assert found.lack_of_fit.p == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize("number", range(4))
def test_effects_are_those_of_statsmodels(number):
    refused = check(number)
    assert not refused or "too few for the effects" in refused


@pytest.mark.slow
def test_effects_of_many_more_grids_are_those_of_statsmodels():
    found = [check(number) for number in range(4, 150)]
    assert all(not refused or "too few for the effects" in refused for refused in found)
    assert found.count("") > 125


def test_large_values_do_not_round_the_noise():
    """Noise of 1 on values near 1e9, in steps that both represent: p had six digits."""
    grid = Grid(5)
    random = np.random.default_rng(0)
    grid.lacks, grid.rows = None, list(itertools.product((0, 1), repeat=3))
    grid.shape = (2, 2, 2)
    small = np.round(random.normal(0, 1, (8, 4)), 3)
    grid.values = small
    expected = grid.analysed()
    grid.values = np.array([[2.0**30 + math.ldexp(round(one * 2**20), -20) for one in row] for row in small])
    found = grid.analysed()
    grid.values -= 2.0**30
    exact = grid.analysed()
    assert [one.p for one in exact.effects] == pytest.approx([one.p for one in expected.effects], rel=1e-3)
    assert [one.p for one in found.effects] == pytest.approx([one.p for one in exact.effects], rel=1e-10)
    assert found.residual_std == pytest.approx(exact.residual_std, rel=1e-10)
    assert found.lack_of_fit is not None
    assert exact.lack_of_fit is not None
    assert found.lack_of_fit.f_value == pytest.approx(exact.lack_of_fit.f_value, rel=1e-10)


# -- contributions ------------------------------------------------------------------


def component_table(design: str, rows: dict[str, dict[int, float]], names: list[str], analysis: dict) -> AblationTable:
    variants, records = [], []
    for index, (row, values) in enumerate(rows.items()):
        on = {name: name in row.split() for name in names}
        key = f"{design} {row}"
        variants.append(PlannedVariant(name=key, variant_id=key, components=on, is_baseline=not index))
        for seed, value in values.items():
            fields = {"trial_id": f"{key} {seed}", "variant_id": key, "variant": key, "seed": seed, "spec": {}}
            records.append(TrialRecord(**fields, status="completed", metrics={"top1": value}))
    plan = {"sweep": "parts", "design": design, "metric": "top1", "seeds": list(range(12)), "variants": variants}
    return ablation_table(RunPlan.model_validate(plan | {"analysis": analysis}), records)


@pytest.mark.parametrize("number", [*range(4), *(pytest.param(one, marks=pytest.mark.slow) for one in range(4, 12))])
def test_contributions_are_those_of_scipy(number):
    random = np.random.default_rng([31, number])
    names = list("abcde"[: int(random.integers(2, 6))])
    num_seeds = int(random.choice([1, 2, 3, 5, 12]))
    analysis = {"correction": str(random.choice(["holm", "bh", "none"])), "alpha": float(random.choice([0.05, 0.2]))}

    def values() -> dict[int, float]:
        drawn = 90 + random.normal(0, 1, num_seeds)
        return {seed: float(value) for seed, value in enumerate(drawn) if num_seeds == 1 or random.random() < 0.95}

    none, every = values(), values()
    alone = {name: values() for name in names}
    lacking = {name: values() for name in names}
    without = {" ".join(names): every} | {" ".join(n for n in names if n != name): lacking[name] for name in names}
    added = {"": none} | {name: alone[name] for name in names}
    tables = [component_table(d, r, names, analysis) for d, r in (("leave_one_out", without), ("add_one_in", added))]
    try:
        found = {one.component: one for one in contributions(*tables)}
    except SpecError:
        assert num_seeds <= 2  # no shared seed
        return
    p_values = []
    for name in names:
        gains = [
            {seed: ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())}
            for ours, theirs in ((alone[name], none), (every, lacking[name]))
        ]
        if not all(gains):
            assert name not in found
            continue
        for gain, delta in zip(gains, (found[name].alone, found[name].in_full), strict=True):
            assert (delta.mean, delta.num_pairs) == (pytest.approx(np.mean(list(gain.values()))), len(gain))
            if len(gain) > 1:
                low, high = DescrStatsW(list(gain.values())).tconfint_mean(analysis["alpha"])
                assert (delta.low, delta.high) == pytest.approx((low, high), rel=1e-10, abs=1e-12)
        gaps = [gains[1][seed] - gains[0][seed] for seed in gains[0] if seed in gains[1]]
        p_values.append(stats.ttest_1samp(gaps, 0.0).pvalue if len(gaps) > 2 else None)
    known = [p for p in p_values if p is not None]
    padded = [*known, *[1.0] * (len(p_values) - len(known))]
    method = {"holm": "holm", "bh": "fdr_bh"}.get(analysis["correction"])
    after = iter(padded if method is None or not padded else multipletests(padded, method=method)[1])
    expected = [None if p is None else pytest.approx(next(after), rel=1e-10) for p in p_values]
    assert [one.p_corrected for one in found.values()] == expected
