"""What a sequential design costs and finds: studies with normal values, simulated.

Arms and baseline have one standard deviation, so that differences to the shared baseline correlate by 1/2. A study
follows the rules of `standing.py` at every look, Holm's correction over the arms included; equivalence is left out, so
that a design with a margin takes no more trainings than are counted here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from results.plan.comparison import Analysis, Rounds
from results.stats.hypothesis_tests import MIN_SEEDS_TEST
from results.stats.sequential.anytime import anytime_critical
from results.stats.sequential.boundaries import critical_values_of
from results.stats.sequential.futility import LEAST_RATIO, STRONG_RATIO, futility_bound, likelihood_ratios

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Simulated", "follow", "simulate"]

_MOST_STUDIES, _FEWEST_STUDIES = 20_000, 1_000
_MOST_VALUES = 20_000_000


@dataclass(frozen=True)
class Simulated:
    """Means over the studies.

    Attributes:
        trainings: of baseline and arms together.
        found: share of the studies in which each arm is better or worse, after the correction.
        any_false: share of the studies with a claim on an arm without an effect.
        num_studies: how many were simulated.
    """

    trainings: float
    found: tuple[float, ...]
    any_false: float
    num_studies: int


def simulate(
    rounds: Rounds, analysis: Analysis, effects: Sequence[float], *, num_studies: int | None = None
) -> Simulated:
    """Simulate studies of a design.

    Args:
        effects: of each arm, in standard deviations of its same-seed differences.
        num_studies: default: 20,000, or fewer of many arms and seeds.
    """
    import numpy as np

    seeds, arms = rounds.looks[-1], len(effects)
    most = _MOST_VALUES // (seeds * (arms + 1))
    number = num_studies or min(_MOST_STUDIES, max(_FEWEST_STUDIES, most))
    generator = np.random.default_rng(2**31 - 1)
    values = generator.standard_normal((number, seeds, arms + 1)) / math.sqrt(2)
    differences = values[..., 1:] - values[..., :1] + np.asarray(effects)
    return follow(rounds, analysis, differences, np.asarray(effects) == 0)


def follow(rounds: Rounds, analysis: Analysis, differences: np.ndarray, is_null: np.ndarray) -> Simulated:
    """Follow a design through given studies.

    Args:
        differences: same-seed differences, of shape (studies, seeds, arms).
        is_null: whether each arm has no effect.
    """
    import numpy as np

    number, _, arms = differences.shape
    critical = _critical(rounds, analysis, arms)
    active, claimed = np.ones((number, arms), bool), np.zeros((number, arms), bool)
    level = np.zeros((number, arms), int)  # the most arms that may be left for the arm to be claimed
    trainings, baseline = np.zeros(number), np.zeros(number)
    before = 0
    for seeds in range(MIN_SEEDS_TEST, rounds.looks[-1] + 1):
        if seeds in critical:
            t = np.abs(_t(differences[:, :seeds]))
            level = np.where(active, np.maximum(level, (t[..., None] >= critical[seeds]).sum(axis=-1)), level)
        if seeds not in rounds.looks:
            continue
        trainings += (seeds - before) * active.sum(axis=1)
        baseline = np.where(active.any(axis=1), seeds, baseline)
        before = seeds
        for _ in range(arms if analysis.correction == "holm" else 1):
            left = arms - claimed.sum(axis=1, keepdims=True) if analysis.correction == "holm" else 1
            claimed |= level >= left
        if rounds.stop == "decided":
            active = active & ~claimed
        if seeds < rounds.looks[-1]:
            active = active & ~_is_futile(differences[:, :seeds], rounds)
    return Simulated(
        trainings=float((trainings + baseline).mean()),
        found=tuple(float(share) for share in claimed.mean(axis=0)),
        any_false=float((claimed & is_null).any(axis=1).mean()),
        num_studies=number,
    )


def _critical(rounds: Rounds, analysis: Analysis, arms: int) -> dict[int, np.ndarray]:
    """Number of seeds -> |t| from which on an arm is claimed if 1, 2, ... arms are left."""
    import numpy as np

    counts = range(1, arms + 1) if analysis.correction == "holm" else range(1, 2)
    levels = [analysis.alpha / count for count in counts]
    if analysis.sequential == "anytime":
        every = range(MIN_SEEDS_TEST, rounds.looks[-1] + 1)
        return {seeds: np.array([anytime_critical(seeds, each) for each in levels]) for seeds in every}
    found = critical_values_of(rounds.looks, np.array(levels), rounds.spending)
    return dict(zip(rounds.looks, found.T, strict=True))


def _t(differences: np.ndarray) -> np.ndarray:
    """t statistics over the second axis."""
    seeds = differences.shape[1]
    return differences.mean(axis=1) / differences.std(axis=1, ddof=1) * math.sqrt(seeds)


def _is_futile(differences: np.ndarray, rounds: Rounds) -> np.ndarray:
    """Of shape (studies, arms); an effect in the metric's unit is one in the unit of the differences here."""
    import numpy as np

    seeds, ratio = differences.shape[1], STRONG_RATIO if rounds.is_strong else LEAST_RATIO
    t = np.abs(_t(differences))
    if rounds.effect is not None:
        return t < futility_bound(seeds, rounds.effect, ratio)
    if rounds.smallest is None:
        return np.zeros(t.shape, bool)
    return likelihood_ratios(t, seeds, rounds.smallest / differences.std(axis=1, ddof=1)) < ratio
