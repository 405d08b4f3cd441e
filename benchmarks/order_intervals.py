"""How often does an interval of Kendall's tau from few seeds contain what it is of? Simulated studies, five ways.

    python benchmarks/order_intervals.py [--studies 500]

3, 5 or 8 rows with 3 or 5 seeds each; the paper's order is that of the rows' numbers, the expected values are in that
order, close or wide, or have one row out of it. A value is: expected value + effect of the seed (the same for all rows,
sd 1) + noise of the trial, whose standard deviation is equal, unequal, or large for one row, normal or of Student's t
with 3 degrees of freedom.

- `range`: of every order that paired t-tests after Holm leave possible (results/effects/published_order.py), of the tau
  of the expected values.
- `bootstrap` (percentile) and `jackknife` (t) over the seeds, of the same.
- `t of seeds`: t-interval of the seeds' own taus, of the expectation of such a tau.

Printed are the least and the median share of the studies over all settings in which the interval contains it, its mean
width, and for the range the largest share of studies in which a pair is said to have an order that it has not.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from statistics import fmean, median

import numpy as np
from scipy import stats

from results.stats.hypothesis_tests import holm
from results.stats.rank_agreement import tau_range

ALPHA = 0.05
RESAMPLES = 400
Setting = tuple[int, np.ndarray, np.ndarray, int | None]


def settings() -> Iterator[Setting]:
    """Seeds, expected values and standard deviations by row, and degrees of freedom of the noise."""
    for rows in (3, 5, 8):
        ones, at = np.ones(rows), np.arange(rows)
        spreads = [(ones, None), (np.linspace(0.2, 5, rows), None), (np.where(at, 1.0, 5.0), None), (ones, 3)]
        for seeds in (3, 5):
            for spread, degrees in spreads:
                for expected in (at * 0.5, at * 4.0, np.where(at, at, 2.5)):
                    yield seeds, expected, spread, degrees


def shares(setting: Setting, num: int, seed: int) -> dict[str, tuple[float, ...]]:
    """Way -> share of studies whose interval contains it, its mean width, and the share with a wrong order."""
    seeds, expected, spread, degrees = setting
    draw = np.random.default_rng(seed)
    upper, lower = np.triu_indices(len(expected), 1)[::-1]

    def noise(*shape: int) -> np.ndarray:
        return draw.normal(size=shape) if degrees is None else draw.standard_t(degrees, shape)

    def tau(gaps: np.ndarray) -> np.ndarray:
        return np.sign(gaps).mean(axis=-1)  # no ties

    true = tau(expected[upper] - expected[lower])
    signs = np.sign(expected[upper] - expected[lower])
    many = expected + noise(20_000, len(expected)) * spread
    of_a_seed = float(tau(many[:, upper] - many[:, lower]).mean())
    found: dict[str, list[tuple[bool, float]]] = {}
    wrong = []
    for _ in range(num):
        values = expected + draw.normal(size=(seeds, 1)) + noise(seeds, len(expected)) * spread
        gaps = values[:, upper] - values[:, lower]
        shown = distinguished(gaps)
        wrong.append(bool(np.any(shown * signs < 0)))
        taus, whole = tau(gaps), tau(gaps.mean(0))
        left_out = np.array([tau(np.delete(gaps, one, 0).mean(0)) for one in range(seeds)])
        resampled = tau(gaps[draw.integers(0, seeds, (RESAMPLES, seeds))].mean(1))
        ways = {
            "range": (tau_range([(1, int(one)) for one in shown]), true),
            "bootstrap": (tuple(np.quantile(resampled, [ALPHA / 2, 1 - ALPHA / 2])), true),
            "jackknife": (t_interval(seeds * whole - (seeds - 1) * left_out), true),
            "t of seeds": (t_interval(taus), of_a_seed),
        }
        for way, ((low, high), wanted) in ways.items():
            width = min(high, 1) - max(low, -1)
            found.setdefault(way, []).append((bool(low - 1e-9 <= wanted <= high + 1e-9), width))
    return {
        way: (fmean(hit for hit, _ in each), fmean(width for _, width in each), fmean(wrong))
        for way, each in found.items()
    }


def distinguished(gaps: np.ndarray) -> np.ndarray:
    """Sign of each pair's mean difference where the paired t-test after Holm shows it, else 0."""
    p_values = holm(stats.ttest_1samp(gaps, 0).pvalue.tolist(), gaps.shape[1])
    return np.where(np.array(p_values) < ALPHA, np.sign(gaps.mean(0)), 0)


def t_interval(values: np.ndarray) -> tuple[float, float]:
    half = stats.t.ppf(1 - ALPHA / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=500, help="studies of each setting")
    num = parser.parse_args().studies
    all_shares = [shares(setting, num, seed) for seed, setting in enumerate(settings())]
    print(f"{len(all_shares)} settings, {num} studies each; nominal {1 - ALPHA:.0%}")
    for way in all_shares[0]:
        cover, width, wrong = zip(*(each[way] for each in all_shares), strict=True)
        line = (
            f"{way:10}  covers {min(cover):6.1%} at least, {median(cover):6.1%} in the median; width {fmean(width):.2f}"
        )
        print(line + (f"; a false order in {max(wrong):.1%} at most" if way == "range" else ""))


if __name__ == "__main__":
    main()
