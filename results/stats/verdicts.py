"""Verdict on an arm against the baseline: better, worse, equivalent or inconclusive.

    better, worse   the corrected p-value of the difference is below alpha
    equivalent      the 95 % interval is inside the margin that the sweep states; the difference does not matter, so
                    this takes precedence over the two above
    inconclusive    none of these; not the same as equal

Arms with pruned, failed or missing seeds (`incomplete`) or with another number of epochs (`unequal budget`) are neither
tested nor ranked. They still count in the family of tests, so a star cannot vanish when they complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from results.stats.hypothesis_tests import CORRECTIONS, MIN_SEEDS_TEST, dunnett_p_values, paired_t_p_value
from results.stats.paired import PairedDelta
from results.store.records import Analysis
from search_space.schema.metrics import Metric

__all__ = ["TESTED", "Judgement", "Verdict", "judge"]

Verdict = Literal["better", "worse", "equivalent", "inconclusive", "incomplete", "unequal budget"]
TESTED: frozenset[str] = frozenset({"better", "worse", "equivalent", "inconclusive"})


@dataclass(frozen=True)
class Judgement:
    """p-value of an arm against the baseline, before and after the correction, and the verdict."""

    p: float | None
    p_corrected: float | None
    verdict: Verdict | None


def judge(
    deltas: Mapping[str, PairedDelta],
    *,
    metric: Metric,
    analysis: Analysis,
    num_arms: int | None = None,
    values: Mapping[str, Sequence[float]] | None = None,
    baseline: Sequence[float] = (),
) -> dict[str, Judgement]:
    """Verdicts for the complete arms of one study; arms with fewer than 3 seeds get none.

    Args:
        deltas: arm -> its differences to the baseline.
        num_arms: arms in the study, including incomplete ones; default: number of `deltas`.
        values, baseline: values of each arm and of the baseline, in the order of the seeds; only for Dunnett's test.
    """
    tested = {name: delta for name, delta in deltas.items() if delta.num_pairs >= MIN_SEEDS_TEST}
    if analysis.correction == "dunnett":
        assert values is not None, "Dunnett's test compares values, not differences"
        return _dunnett(tested, {name: values[name] for name in tested}, baseline, metric, analysis)
    raw = {name: paired_t_p_value(delta) for name, delta in tested.items()}
    known = [p for p in raw.values() if p is not None]
    adjust = CORRECTIONS[analysis.correction]
    corrected = iter(adjust(known, max(num_arms or 0, len(tested))))
    pairs = {name: (p, None if p is None else next(corrected)) for name, p in raw.items()}
    return {name: Judgement(*pairs[name], _verdict(tested[name], pairs[name][1], metric, analysis)) for name in tested}


def _dunnett(
    deltas: Mapping[str, PairedDelta],
    values: Mapping[str, Sequence[float]],
    baseline: Sequence[float],
    metric: Metric,
    analysis: Analysis,
) -> dict[str, Judgement]:
    samples = [*values.values(), baseline]
    if not deltas or all(len(set(sample)) == 1 for sample in samples):  # no variance in any sample: no test applies
        found: list[float | None] = [None] * len(deltas)
    else:
        found = list(dunnett_p_values(list(values.values()), baseline))
    # Dunnett's p-value is already corrected; there is no uncorrected one.
    return {
        name: Judgement(None, p, _verdict(delta, p, metric, analysis))
        for (name, delta), p in zip(deltas.items(), found, strict=True)
    }


def _verdict(delta: PairedDelta, p: float | None, metric: Metric, analysis: Analysis) -> Verdict:
    margin = analysis.margin
    ends = [end for end in (delta.low, delta.high) if end is not None]
    if margin is not None and ends and all(abs(end) < margin for end in ends):
        return "equivalent"
    if p is None or p >= analysis.alpha:
        return "inconclusive"
    return "better" if (delta.mean > 0) == (metric.direction == "maximize") else "worse"
