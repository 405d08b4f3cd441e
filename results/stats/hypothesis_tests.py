"""Hypothesis tests of same-seed differences: p-values, multiplicity corrections, resampling intervals.

Default is the two-sided paired t-test, for 3 or more seeds. It assumes normal differences, which few seeds cannot
contradict. The sign-flip permutation test assumes only symmetry, but its smallest p-value is 2 / 2^n: 0.0625 with 5
seeds, so it needs 6. The nominal 95 % percentile bootstrap covers 84 % with 5 seeds and 89 % with 10, so it needs 10.
Dunnett's test, which compares all arms with one baseline at once, is in `dunnett.py`. Two one-sided t-tests against a
margin (TOST; Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987) show that a difference is smaller than it.

Corrections are for multiple arms: with ten arms equal to the baseline, a third of all tables would have a star. Holm
(default) bounds the family-wise error rate, the probability of any false claim in the table; Benjamini-Hochberg bounds
the false discovery rate, the expected share of false claims among the claims. With a margin an arm has two null
hypotheses, no difference and a difference of the margin or more. They exclude each other, so of the 2 K hypotheses of K
arms at most K are true, and both corrections need no larger factor than K (Shaffer, JASA 81, 1986). Implemented here
because statsmodels takes a second to import; the tests compare with it.

Resampling draws from a generator with a fixed seed, so that a table is byte-equal whenever it is written.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from results.stats.paired import ALPHA, PairedDelta, has_no_spread

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "CORRECTIONS",
    "CORRECTION_NAMES",
    "MIN_SEEDS_BOOTSTRAP",
    "MIN_SEEDS_SIGN_FLIP",
    "MIN_SEEDS_TEST",
    "benjamini_hochberg",
    "bootstrap_interval",
    "equivalence_p_value",
    "holm",
    "paired_t_p_value",
    "sign_flip_p_value",
    "uncorrected",
]

MIN_SEEDS_TEST = 3
MIN_SEEDS_SIGN_FLIP = 6
MIN_SEEDS_BOOTSTRAP = 10
_MOST_ENUMERATED = 16  # 2^16 sign patterns, half of them by symmetry
_NUM_RESAMPLES = 20_000
_SEED = 20_210_303


def paired_t_p_value(delta: PairedDelta) -> float | None:
    """Two-sided p-value of the paired t-test; None below 3 pairs and for differences without any spread.

    Accuracies on a small test set are discrete, so equal differences are common; t would be infinite and p zero.
    """
    return None if _lacks_a_test(delta) else 2 * _upper_tail(delta, abs(delta.mean))


def equivalence_p_value(delta: PairedDelta, margin: float) -> float | None:
    """p-value of |true difference| >= margin: the larger one of two one-sided paired t-tests; None as for those."""
    return None if _lacks_a_test(delta) else _upper_tail(delta, margin - abs(delta.mean))


def _lacks_a_test(delta: PairedDelta) -> bool:
    return delta.num_pairs < MIN_SEEDS_TEST or delta.std is None or has_no_spread(delta)


def _upper_tail(delta: PairedDelta, distance: float) -> float:
    """Probability of a t statistic above the distance in standard errors of the mean difference."""
    from scipy.special import stdtr  # here, because the import takes 0.4 s and tables of one seed do not need it

    assert delta.error is not None, "a test without a spread"
    return float(stdtr(delta.num_pairs - 1, -distance / delta.error))


def sign_flip_p_value(differences: Sequence[float]) -> float | None:
    """Two-sided p-value of the sign-flip permutation test of the mean; None below 6 pairs.

    All sign patterns up to 16 pairs; for more pairs 20,000 random patterns plus the observed one.
    """
    num = len(differences)
    if num < MIN_SEEDS_SIGN_FLIP:
        return None
    import numpy as np

    values = np.asarray(differences, dtype=float)
    # Ties in exact arithmetic must count as ties: rounding depends on the order of a sum.
    threshold = abs(math.fsum(differences)) * (1 - 1e-12) - 1e-12 * float(np.abs(values).max())
    extreme = int((np.abs(_sign_patterns(num) @ values) >= threshold).sum())
    if num <= _MOST_ENUMERATED:
        return extreme / 2 ** (num - 1)
    return (1 + extreme) / (1 + _NUM_RESAMPLES)


def bootstrap_interval(differences: Sequence[float], alpha: float = ALPHA) -> tuple[float, float] | None:
    """Percentile interval of the mean of 20,000 resamples, of level 1 - alpha; None below 10 pairs."""
    num = len(differences)
    if num < MIN_SEEDS_BOOTSTRAP:
        return None
    import numpy as np

    means = _resample_counts(num) @ np.asarray(differences, dtype=float) / num
    low, high = np.quantile(means, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)


@functools.cache
def _sign_patterns(num: int) -> np.ndarray:
    """Sign patterns, one row of +1 and -1 each; the first sign is fixed if all are enumerated (even statistic)."""
    import numpy as np

    if num <= _MOST_ENUMERATED:
        bits = np.arange(2 ** (num - 1))[:, None] >> np.arange(num) & 1
    else:
        bits = np.random.default_rng(_SEED).integers(0, 2, size=(_NUM_RESAMPLES, num))
    return 1.0 - 2.0 * bits


@functools.cache
def _resample_counts(num: int) -> np.ndarray:
    """Bootstrap counts, one row per resample: number of draws of each difference."""
    import numpy as np

    return np.random.default_rng(_SEED).multinomial(num, [1 / num] * num, size=_NUM_RESAMPLES).astype(float)


def holm(p_values: Sequence[float], num_tests: int, most_true: int | None = None) -> list[float]:
    """Holm's adjusted p-values, or Shaffer's where fewer hypotheses than tests can be true.

    Args:
        num_tests: size of the family, including tests that were not (yet) done.
        most_true: largest number of true null hypotheses; default: all.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(_ascending(p_values)):
        factor = min(num_tests if most_true is None else most_true, num_tests - rank)
        largest = max(largest, min(1.0, p_values[index] * factor))
        adjusted[index] = largest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float], num_tests: int, most_true: int | None = None) -> list[float]:
    """Benjamini and Hochberg's adjusted p-values (q-values); tests that were not done count as p = 1.

    Arguments as for `holm`: with at most K of the hypotheses true, K p / rank bounds the rate; never below p itself.
    Ranks are of the tests that were done: K / rank of the others would be below 1.
    """
    adjusted = [0.0] * len(p_values)
    smallest = 1.0
    for rank, index in reversed(list(enumerate(_ascending(p_values), start=1))):
        factor = num_tests if most_true is None else most_true
        smallest = min(smallest, p_values[index] * factor / rank)
        adjusted[index] = max(smallest, p_values[index])
    return adjusted


def uncorrected(p_values: Sequence[float], num_tests: int, most_true: int | None = None) -> list[float]:
    """Unchanged p-values."""
    return list(p_values)


def _ascending(p_values: Sequence[float]) -> list[int]:
    return sorted(range(len(p_values)), key=p_values.__getitem__)


CORRECTIONS: dict[str, Callable[[Sequence[float], int, int | None], list[float]]] = {
    "holm": holm,
    "bh": benjamini_hochberg,
    "none": uncorrected,
    "dunnett": holm,  # of other tests than those with a baseline, which are Dunnett's own (see verdicts.py)
}
CORRECTION_NAMES = {"holm": "Holm", "bh": "Benjamini-Hochberg", "none": "not corrected", "dunnett": "Holm"}
"""What corrects the p-values of tests that compare nothing with the baseline."""
