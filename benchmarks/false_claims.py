"""How often would a table of archsweep claim something false? Simulated studies through the code that makes the tables.

    python benchmarks/false_claims.py [--studies 20000]

Ten arms that equal the baseline are trained with the same seeds as it; a claim (`better` or `worse`) about any of them
is false. Holm must keep the chance of at least one such claim at 5 %; without a correction it is several times that.
With a margin, arms at it and arms without an effect: a claim `equivalent` of the former, `better` or `worse` of the
latter is false, and Holm and Dunnett must keep the chance of any at 5 %, too.
The 95 % interval of a difference must contain the true one 95 times in 100; the power must be the paired t-test's.

A value is: effect of the arm + effect of the seed (shared by all arms, sd 1) + noise of the trial (sd 0.5), so that a
paired difference has a standard deviation of 0.5 * sqrt(2). A smaller run of it:
`tests/results/stats/test_false_claims.py`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import numpy as np
from scipy import stats

from results.plan.comparison import Analysis
from results.stats.hypothesis_tests import bootstrap_interval
from results.stats.paired import PairedDelta, paired_delta
from results.stats.verdicts import judge
from search_space.schema.metrics import METRICS

__all__ = [
    "NOISE",
    "coverage",
    "false_claim_rate",
    "false_claims_of_any_kind",
    "power",
    "theoretical_power",
    "values_of_studies",
]

NOISE = 0.5
_STD = NOISE * math.sqrt(2)
_CLAIMS = {"better", "worse"}


def values_of_studies(
    num_studies: int, *, num_arms: int, num_seeds: int, effect: float = 0.0, seed: int = 0
) -> Iterator[dict[str, dict[int, float]]]:
    """Studies: arm -> seed -> value; the arm named `baseline` has no effect, all others have `effect`."""
    rng = np.random.default_rng(seed)
    for _ in range(num_studies):
        values = rng.normal(0, 1, num_seeds) + rng.normal(0, NOISE, (num_arms + 1, num_seeds)) + 80
        values[1:] += effect
        names = ["baseline", *(f"arm {index}" for index in range(num_arms))]
        yield {name: dict(enumerate(map(float, row))) for name, row in zip(names, values, strict=True)}


def false_claim_rate(
    num_studies: int, *, num_seeds: int, correction: str = "holm", num_arms: int = 10, seed: int = 0
) -> float:
    """Share of studies of arms that equal the baseline in which at least one verdict is a claim."""
    analysis = Analysis.model_validate({"correction": correction})
    studies = values_of_studies(num_studies, num_arms=num_arms, num_seeds=num_seeds, seed=seed)
    false = 0
    for study in studies:
        judgements = judge(_deltas(study), metric=METRICS["top1"], analysis=analysis)
        false += any(judgement.verdict in _CLAIMS for judgement in judgements.values())
    return false / num_studies


def false_claims_of_any_kind(
    num_studies: int, *, num_seeds: int, at_margin: int, without_effect: int, correction: str = "holm", seed: int = 0
) -> float:
    """Share of studies with a false claim: `equivalent` of an arm at the margin (3 standard deviations of a paired
    difference), or a difference of an arm without effect."""
    margin = 3 * _STD
    analysis = Analysis.model_validate({"correction": correction, "margin": margin})
    num_arms = at_margin + without_effect
    far = {f"arm {index}" for index in range(at_margin)}
    false = 0
    for study in values_of_studies(num_studies, num_arms=num_arms, num_seeds=num_seeds, seed=seed):
        values = {
            name: {key: value + margin * (name in far) for key, value in found.items()} for name, found in study.items()
        }
        judgements = judge(
            _deltas(values),
            metric=METRICS["top1"],
            analysis=analysis,
            values={name: list(found.values()) for name, found in values.items()},
            baseline=list(values["baseline"].values()),
        )
        false += any(
            one.verdict == "equivalent" if name in far else one.verdict in _CLAIMS for name, one in judgements.items()
        )
    return false / num_studies


def coverage(num_studies: int, *, num_seeds: int, effect: float = 0.3, seed: int = 0, bootstrap: bool = False) -> float:
    """Share of 95 % intervals of the difference that contain the true one."""
    inside = 0
    for study in values_of_studies(num_studies, num_arms=1, num_seeds=num_seeds, effect=effect, seed=seed):
        delta = _deltas(study)["arm 0"]
        low, high = (
            bootstrap_interval(delta.differences) or (math.nan, math.nan) if bootstrap else (delta.low, delta.high)
        )
        assert low is not None
        assert high is not None
        inside += low <= effect <= high
    return inside / num_studies


def power(num_studies: int, *, num_seeds: int, effect: float, seed: int = 0) -> float:
    """Share of studies of one arm in which its effect is found, with the right sign."""
    found = 0
    for study in values_of_studies(num_studies, num_arms=1, num_seeds=num_seeds, effect=effect, seed=seed):
        judgements = judge(_deltas(study), metric=METRICS["top1"], analysis=Analysis())
        found += judgements["arm 0"].verdict == "better"
    return found / num_studies


def theoretical_power(*, num_seeds: int, effect: float) -> float:
    """Upper tail of the noncentral t distribution beyond the 97.5 % quantile of the central one."""
    critical = stats.t.ppf(0.975, num_seeds - 1)
    return float(stats.nct.sf(critical, num_seeds - 1, effect / _STD * math.sqrt(num_seeds)))


def _deltas(study: dict[str, dict[int, float]]) -> dict[str, PairedDelta]:
    base = study["baseline"]
    found = {name: paired_delta(values, base) for name, values in study.items() if name != "baseline"}
    return {name: delta for name, delta in found.items() if delta is not None}


def _main() -> None:
    parser = argparse.ArgumentParser(description="How often would a table claim something false?")
    parser.add_argument("--studies", type=int, default=20_000)
    num = parser.parse_args().studies

    def error(rate: float) -> str:
        return f"{100 * rate:6.2f} % +- {100 * math.sqrt(rate * (1 - rate) / num):.2f}"

    print(f"{num} simulated studies each; +- is one standard error of the simulation\n")
    print("ten arms equal to the baseline: at least one false claim")
    for seeds in (3, 5):
        for correction in ("none", "bh", "holm"):
            rate = false_claim_rate(num, num_seeds=seeds, correction=correction, seed=seeds)
            print(f"  {seeds:2d} seeds  {correction:5s} {error(rate)}")
    print("arms at the margin, arms without an effect: at least one false claim")
    for far, near in ((1, 0), (5, 0), (10, 0), (5, 5)):
        for correction in ("none", "holm"):
            rate = false_claims_of_any_kind(
                num, num_seeds=5, at_margin=far, without_effect=near, correction=correction, seed=far + near
            )
            print(f"   {far:2d} + {near}  {correction:5s} {error(rate)}")
    print("95 % interval of a difference contains the true one")
    for seeds in (3, 5, 10):
        print(f"  {seeds:2d} seeds  t     {error(coverage(num, num_seeds=seeds, seed=seeds))}")
    print(f"  10 seeds  boot. {error(coverage(num, num_seeds=10, seed=10, bootstrap=True))}")
    print("power: an effect is found (in standard deviations of a paired difference)        theory")
    for seeds, size in ((3, 3.27), (5, 1.0), (5, 1.69), (10, 1.0)):
        effect = size * _STD
        theory = theoretical_power(num_seeds=seeds, effect=effect)
        found = error(power(num, num_seeds=seeds, effect=effect))
        print(f"  {seeds:2d} seeds  {size:4.2f}  {found}       {100 * theory:6.2f} %")


if __name__ == "__main__":
    _main()
