"""The columns of `table.csv` from the values of a study, by scipy and statsmodels.

Nothing of `results` computes here. Where a definition is ours, it is written out once more, as docs/statistics.md has
it.
"""

from __future__ import annotations

import functools
import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import statsmodels.api as sm
from scipy import optimize, special, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from .studies import Arm, Study

ROUNDING = 1e-12
TESTED = ("better", "worse", "equivalent", "inconclusive")
HAS_DIRECTION = ("top1", "loss", "ece", "macro_f1")
COSTS = ("params_m", "trainable_params_m", "gmacs", "train_seconds")
STREAM = 20_210_303
RESAMPLES = 20_000


def opinion(study: Study) -> list[dict[str, Any]]:
    """Expected cells, row by row: numbers, texts, None for an empty cell."""
    base = study.arms[0]
    tests = _tests(study)
    predicts = [_image_error(arm, base, study) for arm in study.arms[1:]]
    rows = []
    for arm in study.arms:
        row = _counts(arm, study) | _summary(arm, study.metric)
        delta = None if arm is base else delta_of(arm, base, study.metric)
        row |= _delta(delta, study.metric, study, arm)
        row["delta_pairs"] = row.pop(f"{study.metric}_delta_pairs")
        row |= tests[arm.name]
        verdict = row["verdict"]
        row["correction"] = None if row["p_corrected"] is None else study.chosen.correction
        row["exploratory"] = (study.is_changed_later or arm.is_added_later) if verdict in TESTED else None
        row |= _resampling(delta, study.chosen.alpha, verdict)
        row["alpha"] = None if delta is None else study.chosen.alpha
        row["interval"] = None if row[f"{study.metric}_delta_low"] is None else study.chosen.interval
        row["test_images"] = study.num_images
        mean = row[f"{study.metric}_mean"]
        is_share = study.metric == "top1" and study.num_images and mean is not None and 0 <= mean <= 100
        row[f"{study.metric}_test_error"] = (
            100 * stats.binom(study.num_images, mean / 100).std() / study.num_images if is_share else None
        )
        if any(error is not None for error in predicts):
            row[f"{study.metric}_delta_test_error"] = _image_error(arm, base, study)
        if study.majority is not None:
            row[f"{study.metric}_majority"] = study.majority
        row[f"published_{study.metric}"] = arm.published
        row["published_source"] = None if arm.published is None else "a paper"
        if any(one.published is not None for one in study.arms):
            mean = row[f"{study.metric}_mean"]
            has_both = mean is not None and arm.published is not None
            row[f"{study.metric}_minus_published"] = mean - arm.published if has_both else None
        row |= _costs(arm, study)
        row |= {"study": arm.study or None, "selection": study.chosen.selection}
        further = {name for one in study.arms for trial in one.trials.values() for name in trial.metrics}
        for name in further - {study.metric}:
            if any(one.values(name) for one in study.arms):
                row |= _summary(arm, name)
            deltas = {one.name: delta_of(one, base, name) for one in study.arms[1:]} if name in HAS_DIRECTION else {}
            if any(found is not None for found in deltas.values()):
                row |= _delta(deltas.get(arm.name), name, study, arm)
        rows.append(row)
    return rows


# -- counts, means, costs -------------------------------------------------------------


def _counts(arm: Arm, study: Study) -> dict[str, Any]:
    counts = Counter(trial.status for trial in arm.trials.values())
    known = {name: counts[name] for name in ("completed", "pruned", "failed", "infeasible")}
    missing = len(study.seeds) - sum(known.values())
    present = [name for name, num in {**known, "missing": missing}.items() if num]
    pruned = [trial.epochs for _, trial in sorted(arm.trials.items()) if trial.status == "pruned"]
    index = study.arms.index(arm)
    return {
        "variant": arm.name,
        "variant_id": f"id-{arm.name}",
        "is_baseline": "false" if index else "true",
        "status": present[0] if len(present) == 1 else "partial",
        "changes": json.dumps({"arch.depth": 100 + index} if index else {}, separators=(",", ":")),
        "seeds_planned": len(study.seeds),
        **{f"seeds_{name}": num for name, num in known.items()},
        "seeds_missing": missing,
        "pruned_epochs": json.dumps(pruned, separators=(",", ":")) if pruned else None,
    }


def _summary(arm: Arm, metric: str) -> dict[str, float | None]:
    values = list(arm.values(metric).values())
    return {
        f"{metric}_mean": float(statistics.mean(values)) if values else None,
        f"{metric}_std": statistics.stdev(values) if len(values) > 1 else None,
    }


def _costs(arm: Arm, study: Study) -> dict[str, float | None]:
    def known(one: Arm) -> dict[str, float | None]:
        done = [trial.seconds for trial in one.trials.values() if trial.status == "completed"]
        seconds = [each for each in done if each is not None]
        counted = [trial for trial in one.trials.values() if trial.status != "preempted"]
        return {
            "params_m": one.params_m,
            "trainable_params_m": one.trainable_params_m if counted else None,
            "gmacs": one.gmacs if counted else None,
            "train_seconds": statistics.mean(seconds) if seconds else None,
        }

    mine, base = known(arm), known(study.arms[0])
    names = [
        name
        for name in COSTS
        if name != "trainable_params_m" or any(known(one)[name] is not None for one in study.arms)
    ]
    change = {
        name: mine[name] / base[name] - 1
        if arm is not study.arms[0] and mine[name] is not None and base[name]
        else None
        for name in names
    }
    return {**{name: mine[name] for name in names}, **{f"{name}_change": change[name] for name in names}}


def _image_error(arm: Arm, base: Arm, study: Study) -> float | None:
    if arm is base or study.metric != "top1" or study.chosen.selection == "best-val":
        return None
    pairs = [
        (arm.trials[seed].right, base.trials[seed].right)
        for seed in arm.trials
        if seed in base.trials and arm.trials[seed].status == base.trials[seed].status == "completed"
    ]
    if not pairs or not all(ours and theirs for ours, theirs in pairs):
        return None
    gains = np.mean([np.array(ours, float) - np.array(theirs, float) for ours, theirs in pairs], axis=0)
    return 100 * float(stats.sem(gains))


# -- differences --------------------------------------------------------------------


class Delta:
    """Same-seed differences; those that are rounding errors of the values are 0."""

    def __init__(self, ours: Mapping[int, float], theirs: Mapping[int, float]) -> None:
        seeds = sorted(set(ours) & set(theirs))
        a, b = (np.array([one[seed] for seed in seeds]) for one in (ours, theirs))
        self.scale = float(np.max(np.abs([a, b])))
        d = a - b
        self.d = np.where(np.abs(d) <= ROUNDING * self.scale, 0.0, d)
        self.num = len(seeds)
        self.mean = float(statistics.mean(self.d.tolist()))
        self.std = statistics.stdev(self.d.tolist()) if self.num > 1 else None

    @property
    def has_no_spread(self) -> bool:
        return self.std is None or self.std <= ROUNDING * self.scale or self.std <= 1e-9 * abs(self.mean)

    @property
    def is_tested(self) -> bool:
        return self.num >= 3 and not self.has_no_spread

    def interval(self, alpha: float) -> tuple[float, float]:
        if not self.std:
            return self.mean, self.mean
        low, high = DescrStatsW(self.d).tconfint_mean(alpha)
        return float(low), float(high)

    def p(self) -> float:
        return float(stats.ttest_1samp(self.d, 0.0).pvalue)

    def p_equivalence(self, margin: float) -> float:
        return float(DescrStatsW(self.d).ttost_mean(-margin, margin)[0])


def delta_of(arm: Arm, base: Arm, metric: str) -> Delta | None:
    ours, theirs = arm.values(metric), base.values(metric)
    return Delta(ours, theirs) if set(ours) & set(theirs) else None


def _delta(delta: Delta | None, metric: str, study: Study, arm: Arm) -> dict[str, Any]:
    low = high = None
    if delta is not None and delta.num > 1:
        alpha, family = study.chosen.alpha, _family(arm, study)
        if study.chosen.interval == "unadjusted":
            low, high = delta.interval(alpha)
        elif study.chosen.correction != "dunnett":
            low, high = delta.interval(alpha / len(family))
        else:
            fit = blocked_fit([one for one in family if not unfit(one, study, metric)], study, metric)
            if fit is not None and not unfit(arm, study, metric):
                half = dunnett_critical(alpha, len(family), fit.degrees) * fit.error
                low, high = delta.mean - half, delta.mean + half
    return {
        f"{metric}_delta": None if delta is None else delta.mean,
        f"{metric}_delta_low": low,
        f"{metric}_delta_high": high,
        f"{metric}_delta_std": None if delta is None else delta.std,
        f"{metric}_delta_pairs": None if delta is None else delta.num,
    }


def _family(arm: Arm, study: Study) -> list[Arm]:
    return [one for one in study.arms[1:] if one.study == arm.study]


# -- tests ---------------------------------------------------------------------------


def unfit(arm: Arm, study: Study, metric: str) -> str:
    """Why the arm is not tested: `unequal budget` before `incomplete`; empty if it is."""
    base = study.arms[0]
    epochs = [{trial.epochs for trial in one.trials.values() if trial.status == "completed"} for one in (arm, base)]
    if all(epochs) and epochs[0] != epochs[1]:
        return "unequal budget"
    return "incomplete" if any(len(one.values(metric)) < len(study.seeds) for one in (arm, base)) else ""


_EMPTY = dict.fromkeys(("p", "p_corrected", "p_equivalence", "p_equivalence_corrected", "verdict"))


def _tests(study: Study) -> dict[str, dict[str, Any]]:
    found = {arm.name: dict(_EMPTY) for arm in study.arms}
    for name in {arm.study for arm in study.arms[1:]}:
        family = [arm for arm in study.arms[1:] if arm.study == name]
        for arm in family:
            found[arm.name]["verdict"] = unfit(arm, study, study.metric) or None
        tested = [arm for arm in family if not unfit(arm, study, study.metric) and len(study.seeds) >= 3]
        if study.chosen.correction == "dunnett":
            p_values = _dunnett(tested, len(family), study)
        else:
            p_values = _corrected(tested, len(family), study)
        for arm in tested:
            found[arm.name] |= p_values[arm.name]
            found[arm.name]["verdict"] = _verdict(arm, found[arm.name], study)
    return found


def _verdict(arm: Arm, p_values: Mapping[str, float | None], study: Study) -> str:
    alpha = study.chosen.alpha
    equivalence, difference = p_values["p_equivalence_corrected"], p_values["p_corrected"]
    if equivalence is not None and equivalence < alpha:
        return "equivalent"
    if difference is None or difference >= alpha:
        return "inconclusive"
    mean = Delta(arm.values(study.metric), study.arms[0].values(study.metric)).mean
    return "better" if mean * {"maximize": 1, "minimize": -1}[study.direction] > 0 else "worse"


def _corrected(tested: Sequence[Arm], num_arms: int, study: Study) -> dict[str, dict[str, float | None]]:
    margin, correction = study.chosen.margin, study.chosen.correction
    raw: dict[tuple[str, str], float] = {}
    for arm in tested:
        delta = Delta(arm.values(study.metric), study.arms[0].values(study.metric))
        if delta.is_tested:
            raw[arm.name, "p"] = delta.p()
            if margin is not None:
                raw[arm.name, "p_equivalence"] = delta.p_equivalence(margin)
    found: dict[str, dict[str, float | None]] = {arm.name: dict(_EMPTY) for arm in tested}
    adjusted = correct(list(raw.values()), num_arms, correction, has_margin=margin is not None)
    for ((name, which), p), after in zip(raw.items(), adjusted, strict=True):
        found[name] |= {which: p, f"{which}_corrected": after}
    return found


def correct(p_values: Sequence[float], num_arms: int, correction: str, *, has_margin: bool) -> list[float]:
    """Corrected p-values of a family of arms, of which those without a test count as p = 1."""
    if not p_values or correction == "none":
        return list(p_values)
    num = num_arms * (2 if has_margin else 1)
    padded = np.array([*p_values, *[1.0] * (num - len(p_values))])
    if not has_margin:
        method = {"holm": "holm", "bh": "fdr_bh"}[correction]
        return [float(p) for p in multipletests(padded, method=method)[1][: len(p_values)]]
    # Of the 2 K hypotheses at most K are true.
    order = np.argsort(padded, kind="stable")
    rank = np.arange(1, num + 1)
    found = np.empty(num)
    if correction == "holm":
        factors = np.minimum(num_arms, num - rank + 1)
        found[order] = np.maximum.accumulate(np.minimum(1.0, padded[order] * factors))
    else:
        # A test that was not done has no rank, so that no p-value is divided by that of another arm's.
        shares = np.where(order < len(p_values), padded[order] * num_arms / rank, 1.0)
        shares = np.minimum.accumulate(np.minimum(1.0, shares)[::-1])[::-1]
        found[order] = np.maximum(padded[order], shares)
    return [float(p) for p in found[: len(p_values)]]


def closed_test(p_values: Mapping[tuple[str, str], float], num_arms: int) -> dict[tuple[str, str], float]:
    """Adjusted p-values of the closed test with Bonferroni's for every set of hypotheses that can be true together."""
    found = dict.fromkeys(p_values, 0.0)
    arms = sorted({name for name, _ in p_values})
    others = num_arms - len(arms)  # hypotheses without a test: p = 1
    choices = [[None, *(key for key in p_values if key[0] == name)] for name in arms]
    for index in np.ndindex(*map(len, choices)):
        chosen = [one[at] for one, at in zip(choices, index, strict=True) if one[at] is not None]
        if chosen:
            p = min(1.0, (len(chosen) + others) * min(p_values[key] for key in chosen))
            for key in chosen:
                found[key] = max(found[key], p)
    return found


# -- Dunnett ---------------------------------------------------------------------------


class BlockedFit:
    """`value ~ arm + seed` by ordinary least squares."""

    def __init__(self, arms: Sequence[Arm], study: Study, metric: str) -> None:
        seeds = sorted(study.seeds)
        base = study.arms[0]
        values = np.array([[one.values(metric)[seed] for seed in seeds] for one in (base, *arms)])
        self.scale = float(np.abs(values).max())
        # What the terms for arms and seeds absorb is taken off first, so that their size rounds no noise away.
        gains = values - values[0]
        centred = (gains - gains[:, :1]).ravel()
        k, n = len(arms), len(seeds)
        design = np.hstack([np.kron(np.ones((k + 1, 1)), np.eye(n)), np.kron(np.eye(k + 1)[:, 1:], np.ones((n, 1)))])
        fit = sm.OLS(centred, design).fit()
        self.differences = dict(zip([arm.name for arm in arms], fit.params[n:] + gains[1:, 0], strict=True))
        self.error = float(fit.bse[-1])
        self.degrees = int(fit.df_resid)
        self.std = math.sqrt(fit.mse_resid)


def blocked_fit(arms: Sequence[Arm], study: Study, metric: str) -> BlockedFit | None:
    if not arms or len(study.seeds) < 2:
        return None
    fit = BlockedFit(arms, study, metric)
    return None if fit.std <= ROUNDING * fit.scale else fit


def _dunnett(tested: Sequence[Arm], num_arms: int, study: Study) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {arm.name: dict(_EMPTY) for arm in tested}
    fit, margin = blocked_fit(tested, study, study.metric), study.chosen.margin
    if fit is None:
        return found
    for arm in tested:
        difference = fit.differences[arm.name]
        found[arm.name]["p_corrected"] = dunnett_tail(difference / fit.error, num_arms, fit.degrees)
        if margin is not None:
            distance = margin - abs(difference)
            tail = dunnett_tail(distance / fit.error, num_arms, fit.degrees)
            found[arm.name]["p_equivalence_corrected"] = tail if distance > 0 else 1.0
    return found


def dunnett_tail(t: float, num_arms: int, degrees: int) -> float:
    """P(max |T_i| >= |t|), correlation 1/2: trapezoids over the normal variable of the baseline and the logarithm of
    the common standard deviation, which are exact to rounding for such smooth integrands."""
    width = 1 / math.sqrt(2 * degrees)
    step = min(0.05, width / 6)
    log_s = np.arange(-12 * width - 60 / degrees, 12 * width if degrees > 8 else 3.0, step)
    z = np.arange(0, 20, 0.1)
    weights = 0.2 * stats.norm.pdf(z) * np.where(z == 0, 0.5, 1.0)  # both signs
    edge = math.sqrt(2) * abs(t) * np.exp(log_s)[:, None]
    outside = np.minimum(1.0, special.ndtr(z - edge) + special.ndtr(-z - edge))
    with np.errstate(divide="ignore"):
        largest = -np.expm1(num_arms * np.log1p(-outside)) @ weights
    # Density of log S: S^2 degrees is chi-squared.
    density = 2 * np.exp(
        special.xlogy(degrees / 2, degrees / 2)
        + degrees * log_s
        - degrees / 2 * np.exp(2 * log_s)
        - special.gammaln(degrees / 2)
    )
    return min(1.0, float(density @ largest) * step)


@functools.cache
def dunnett_critical(alpha: float, num_arms: int, degrees: int) -> float:
    most = stats.t.isf(alpha / num_arms / 2, degrees) + 1
    return optimize.brentq(lambda t: dunnett_tail(t, num_arms, degrees) - alpha, 0.0, most, xtol=1e-13, rtol=1e-14)


# -- resampling ---------------------------------------------------------------------


def _resampling(delta: Delta | None, alpha: float, verdict: str | None) -> dict[str, float | None]:
    found: dict[str, float | None] = dict.fromkeys(("p_sign_flip", "bootstrap_low", "bootstrap_high"))
    if delta is None or verdict not in TESTED:
        return found
    if delta.num >= 6:
        found["p_sign_flip"] = sign_flip(delta.d)
    if delta.num >= 10:
        means = bootstrap_counts(delta.num) @ delta.d / delta.num
        found["bootstrap_low"], found["bootstrap_high"] = stats.mstats.mquantiles(
            means, [alpha / 2, 1 - alpha / 2], alphap=1, betap=1
        )
    return found


def sign_flip(d: np.ndarray) -> float:
    """Share of the sign patterns whose sum is as far from 0; from 17 pairs on of the patterns of a fixed stream."""
    num, slack = len(d), 1e-12 * float(np.abs(d).max())
    observed = abs(math.fsum(d)) * (1 - 1e-12) - slack
    if num > 16:
        signs = np.where(np.random.default_rng(STREAM).integers(0, 2, size=(RESAMPLES, num)) == 1, -1.0, 1.0)
        return (1 + int((np.abs((signs * d).sum(axis=1)) >= observed).sum())) / (1 + RESAMPLES)
    # Sums of the two halves, and for each of one half how many of the other make an extreme sum.
    halves = []
    for half in (d[: num // 2], d[num // 2 :]):
        sums = np.zeros(1)
        for value in half:
            sums = np.concatenate([sums + value, sums - value])
        halves.append(np.sort(sums))
    one, other = halves
    inner = np.searchsorted(other, observed - one, side="left") - np.searchsorted(other, -observed - one, side="right")
    return 1 - int(np.maximum(inner, 0).sum()) / 2**num


@functools.cache
def bootstrap_counts(num: int) -> np.ndarray:
    return np.random.default_rng(STREAM).multinomial(num, np.full(num, 1 / num), size=RESAMPLES).astype(float)
