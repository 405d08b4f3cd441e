"""Verdict on an arm against the baseline: better, worse, equivalent or inconclusive.

    better, worse   the corrected p-value of the difference is below alpha
    equivalent      the corrected p-value of the equivalence is below alpha: the true difference is smaller than the
                    margin that the sweep states. It does not matter then, so this takes precedence over the two above
    inconclusive    none of these; not the same as equal

Both p-values of all arms are corrected together, so alpha bounds false claims of any kind.

With looks, or tests that hold at any number of seeds, both p-values are those of all looks so far (`sequential/`).

Folds are tested by the corrected resampled t, and blocks of different kind by Wilcoxon's signed-rank test from 6 blocks
on, in place of the paired t-test (see `blocks.py`).

Arms with pruned, failed or missing seeds (`incomplete`) or with another number of epochs (`unequal budget`) are neither
tested nor ranked. They still count in the family of tests, which does not grow when they complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from results.plan.comparison import Analysis
from results.stats.blocks import MIN_BLOCKS_WILCOXON, sum_of_signed_ranks, wilcoxon_p_value
from results.stats.dunnett import fit_blocks
from results.stats.hypothesis_tests import MIN_SEEDS_TEST, equivalence_p_value, paired_t_p_value
from results.stats.paired import PairedDelta
from results.stats.sequential.evidence import PValues, corrected
from search_space.schema.metrics import Metric

__all__ = ["TESTED", "Judgement", "Verdict", "judge"]

Verdict = Literal["better", "worse", "equivalent", "inconclusive", "incomplete", "unequal budget"]
TESTED: frozenset[str] = frozenset({"better", "worse", "equivalent", "inconclusive"})


@dataclass(frozen=True)
class Judgement:
    """p-values of an arm before and after the correction, and the verdict.

    Attributes:
        p: that the arm equals the baseline.
        p_equivalence: that they differ by the margin or more; None without a margin.
    """

    p: float | None = None
    p_corrected: float | None = None
    verdict: Verdict | None = None
    p_equivalence: float | None = None
    p_equivalence_corrected: float | None = None


def judge(
    deltas: Mapping[str, PairedDelta],
    *,
    metric: Metric,
    analysis: Analysis,
    num_arms: int | None = None,
    sequential: Mapping[str, PValues] | None = None,
    values: Mapping[str, Sequence[float]] | None = None,
    baseline: Sequence[float] = (),
) -> dict[str, Judgement]:
    """Verdicts for the complete arms of one study; arms with fewer than 3 seeds get none.

    Args:
        deltas: arm -> its differences to the baseline.
        num_arms: arms in the study, including incomplete ones; default: number of `deltas`.
        sequential: p-values of the arms over several looks, in place of those of one test of all seeds.
        values, baseline: values of each arm and of the baseline, in the order of the seeds; only for Dunnett's test.
    """
    tested = {name: delta for name, delta in deltas.items() if delta.num_pairs >= _least_pairs(delta)}
    family = max(num_arms or 0, len(tested))
    if analysis.correction == "dunnett":
        assert values is not None, "Dunnett's test compares values, not differences"
        found = _by_dunnett({name: values[name] for name in tested}, baseline, family, analysis)
    else:
        found = _by_paired_tests(tested, family, analysis, sequential)
    return {name: _with_verdict(one, _direction(tested[name]), metric, analysis.alpha) for name, one in found.items()}


def _least_pairs(delta: PairedDelta) -> int:
    return MIN_BLOCKS_WILCOXON if delta.is_of_unlike else MIN_SEEDS_TEST


def _p_values(delta: PairedDelta, margin: float | None) -> PValues:
    """By one test of all seeds."""
    if delta.is_of_unlike:
        difference = wilcoxon_p_value(delta.differences, scale=delta.scale)
    else:
        difference = paired_t_p_value(delta)
    return PValues(difference, None if margin is None else equivalence_p_value(delta, margin))


def _direction(delta: PairedDelta) -> float:
    """A number with the sign of what the test of the difference found."""
    return sum_of_signed_ranks(delta.differences, scale=delta.scale) if delta.is_of_unlike else delta.mean


def _by_paired_tests(
    tested: Mapping[str, PairedDelta], family: int, analysis: Analysis, sequential: Mapping[str, PValues] | None
) -> dict[str, Judgement]:
    if sequential is None:
        sequential = {name: _p_values(delta, analysis.margin) for name, delta in tested.items()}
    after = corrected({name: sequential[name] for name in tested}, analysis, family)
    return {
        name: Judgement(
            p=sequential[name].difference,
            p_corrected=after[name].difference,
            p_equivalence=sequential[name].equivalence,
            p_equivalence_corrected=after[name].equivalence,
        )
        for name in tested
    }


def _by_dunnett(
    values: Mapping[str, Sequence[float]], baseline: Sequence[float], family: int, analysis: Analysis
) -> dict[str, Judgement]:
    """Dunnett's p-values are corrected as they come; there are no uncorrected ones."""
    fit, margin = fit_blocks(values, baseline, family), analysis.margin
    if fit is None:
        return {name: Judgement() for name in values}
    return {
        name: Judgement(
            p_corrected=fit.p_value(name),
            p_equivalence_corrected=None if margin is None else fit.equivalence_p_value(name, margin),
        )
        for name in values
    }


def _with_verdict(found: Judgement, direction: float, metric: Metric, alpha: float) -> Judgement:
    verdict: Verdict = "inconclusive"
    if found.p_equivalence_corrected is not None and found.p_equivalence_corrected < alpha:
        verdict = "equivalent"
    elif found.p_corrected is not None and found.p_corrected < alpha:
        verdict = "better" if (direction > 0) == (metric.direction == "maximize") else "worse"
    return replace(found, verdict=verdict)
