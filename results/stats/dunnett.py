"""Dunnett's two-sided test and simultaneous intervals of several arms against one baseline, with the seed as a block.

The model is value = arm + seed + noise: all arms share one standard deviation of the noise, and the effect that a seed
has on every arm cancels, as in the paired t-test (Hsu, Multiple Comparisons, 1996, chapter 3). With k arms and n seeds
the noise has (n - 1) k degrees of freedom, where a paired t-test has n - 1. It is exact if any two arms are equally
correlated over the seeds and equally variable.

The family is that of all arms of the study, also of those that lack seeds: only complete ones enter the fit, but the
critical value is the same as if all did. When the others complete, it changes with the degrees of freedom alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from results.stats.paired import is_rounding, scaled
from results.stats.t_distributions import dunnett_critical, dunnett_tail

__all__ = ["BlockedFit", "fit_blocks"]


@dataclass(frozen=True)
class BlockedFit:
    """Differences to the baseline with their common standard error.

    Attributes:
        differences: arm -> mean difference.
        num_arms: size of the family.
    """

    differences: Mapping[str, float]
    error: float
    degrees: int
    num_arms: int

    def p_value(self, arm: str) -> float:
        """P(max |T| >= |t|) over the family, if no arm differs from the baseline."""
        return dunnett_tail(self.differences[arm] / self.error, self.num_arms, self.degrees)

    def equivalence_p_value(self, arm: str, margin: float) -> float:
        """The smallest alpha at which the arm's simultaneous interval is within the margin; 1 for a larger difference.

        Simultaneous intervals contain all true differences at once, so that claims of a difference and of equivalence
        together are false with the probability alpha at most.
        """
        distance = margin - abs(self.differences[arm])
        return 1.0 if distance <= 0 else dunnett_tail(distance / self.error, self.num_arms, self.degrees)

    def half_width(self, alpha: float) -> float:
        """Half width of the simultaneous intervals."""
        return dunnett_critical(alpha, self.num_arms, self.degrees) * self.error


def fit_blocks(arms: Mapping[str, Sequence[float]], baseline: Sequence[float], num_arms: int) -> BlockedFit | None:
    """Fit of the complete arms; None without an arm, for a single seed, and if the noise is a rounding error.

    Args:
        arms: arm -> values in the order of the seeds, as many as the baseline has.
        num_arms: arms of the study, including those that lack seeds.
    """
    num_seeds = len(baseline)
    degrees = (num_seeds - 1) * len(arms)
    if not degrees:
        return None
    gains = {name: [a - b for a, b in zip(row, baseline, strict=True)] for name, row in arms.items()}
    differences = {name: math.fsum(row) / num_seeds for name, row in gains.items()}
    # Of what differs from arm and baseline, which leaves the noise as it is: values of 90 would round it at 1e-14.
    rows = [[0.0] * num_seeds, *([gain - differences[name] for gain in row] for name, row in gains.items())]
    of_arms = [math.fsum(row) / num_seeds for row in rows]
    of_seeds = [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]
    mean = math.fsum(of_seeds) / num_seeds
    residuals, exponent = scaled(
        [
            value - of_arm - of_seed + mean
            for row, of_arm in zip(rows, of_arms, strict=True)
            for value, of_seed in zip(row, of_seeds, strict=True)
        ]
    )
    std = math.ldexp(math.sqrt(math.fsum(residual * residual for residual in residuals) / degrees), exponent)
    if is_rounding(std, max(abs(value) for row in (baseline, *arms.values()) for value in row)):
        return None
    return BlockedFit(differences, std * math.sqrt(2 / num_seeds), degrees, max(num_arms, len(arms)))
