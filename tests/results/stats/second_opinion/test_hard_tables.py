"""Tables that break careless arithmetic, and claims at their edges: by the second opinion, and by equal tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from .opinion import closed_test, correct
from .studies import Study, csv_of, random_study, study_of
from .test_tables import disagreements

pytestmark = pytest.mark.thorough


def drawn(unit: float, *, seeds: int = 5, arms: int = 3, level: float = 0.0) -> dict[str, list[float | None]]:
    random = np.random.default_rng([seeds, arms])
    base = unit * (level + random.normal(0, 1, seeds))
    gains = unit * (0.8 * np.arange(arms)[:, None] + random.normal(0, 1, (arms, seeds)))
    return {"baseline": base.tolist(), **{f"a{index}": (base + gain).tolist() for index, gain in enumerate(gains)}}


def without(values: dict[str, list[float | None]], arm: str, seed: int) -> dict[str, list[float | None]]:
    return values | {arm: [None if at == seed else value for at, value in enumerate(values[arm])]}


def twins(values: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
    return values | {"a1": values["a0"], "a2": values["a0"]}


HARD: dict[str, dict[str, Sequence[float | None]]] = {
    "as large as metrics may be": drawn(1e98),
    "1e15": drawn(1e15),
    "noise of 1 on 1e15, which is rounding": drawn(1.0, level=1e15),
    "noise of 1e4 on 1e15": drawn(1e4, level=1e11),
    "1e-140": drawn(1e-140),
    "one arm": drawn(1.0, arms=1, level=90),
    "no arm": drawn(1.0, arms=0, level=90),
    "all equal": {"baseline": [90.1] * 6, "a": [90.1] * 6, "b": [90.1] * 6},
    "all equal but the baseline's last": {"baseline": [90.1] * 5 + [90.2], "a": [90.1] * 6, "b": [90.1] * 6},
    "two seeds": drawn(1.0, seeds=2, level=90),
    "one seed": drawn(1.0, seeds=1, level=90),
    "a baseline without a seed": without(drawn(1.0, level=90), "baseline", 2),
    "a baseline without results": {"baseline": [None] * 3, "a": [None] * 3, "b": [90.0, 91.0, 92.0]},
    "no measurements": drawn(1.0, level=90) | {"a1": [math.inf, -math.inf, math.nan, 1e100, -2e100]},
    "equal p-values": twins(drawn(1.0, level=90)),
    "zeros": {"baseline": [0.0] * 5, "a": [0.0, 0.0, 0.0, 0.0, 1e-20], "b": [-0.0] * 5},
    "one difference, many equal": {"baseline": [90.0] * 20, "a": [90.0] * 19 + [91.0], "b": [91.0] * 20},
}


KIN = {"1e15", "noise of 1e4 on 1e15", "one arm", "no arm", "all equal", "one seed", "a baseline without results"}


@pytest.mark.parametrize("title", [pytest.param(one, marks=pytest.mark.slow) if one in KIN else one for one in HARD])
def test_hard_tables_are_those_of_scipy_and_statsmodels(title):
    size = max((abs(value) for value in HARD[title]["baseline"] if value), default=1.0)
    for correction, interval, margin in (
        ("holm", "unadjusted", None),
        ("none", "unadjusted", 3 * size),
        ("bh", "simultaneous", 3 * size),
        ("dunnett", "simultaneous", size / 100),
    ):
        analysis = {"correction": correction, "interval": interval, "margin": margin}
        study = study_of(HARD[title], metric="loss", direction="minimize", analysis=analysis)
        assert disagreements(study, csv_of(study)) == []


@pytest.mark.parametrize("exponent", [-900, -600, 200])
@pytest.mark.parametrize("number", [1, 3, 12, 33])
def test_the_unit_of_a_metric_changes_no_digit(number, exponent):
    """Values and margin times a power of two, down to 1e-271: squares of such differences are 0 in double precision."""
    study = random_study(number)
    unit = 2.0**exponent
    trials = [
        {
            seed: trial.__class__(
                **{**vars(trial), "metrics": {"loss": trial.metrics[study.metric] * unit}, "right": ()}
            )
            for seed, trial in arm.trials.items()
            if study.metric in trial.metrics
        }
        for arm in study.arms
    ]
    plain = [
        {
            seed: trial.__class__(**{**vars(trial), "metrics": {"loss": trial.metrics["loss"] / unit}})
            for seed, trial in found.items()
        }
        for found in trials
    ]
    tables = []
    for factor, given in ((unit, trials), (1.0, plain)):
        analysis = {**study.analysis, "selection": "last", "margin": 0.5 * factor}
        arms = tuple(
            # A published value would be in the old unit.
            arm.__class__(**{**vars(arm), "trials": each, "published": None})
            for arm, each in zip(study.arms, given, strict=True)
        )
        made = Study(arms, study.seeds, metric="loss", direction="minimize", analysis=analysis)
        tables.append(csv_of(made))
    for small, line in zip(*tables, strict=True):
        for name, cell in line.items():
            scales = name.startswith(("loss_", "bootstrap_")) and cell
            assert small[name] == (repr(float(cell) * unit) if scales else cell), name


def verdicts(analysis: dict[str, object], values: dict[str, list[float | None]]) -> dict[str, str]:
    return {line["variant"]: line["verdict"] for line in csv_of(study_of(values, analysis=analysis))[1:]}


@pytest.mark.parametrize("correction", ["holm", "bh", "dunnett", "none"])
def test_p_equal_to_alpha_claims_nothing(correction):
    values = {"baseline": [90.0, 91.0, 92.0, 90.5], "a": [92.0, 92.5, 94.5, 92.0], "b": [90.2, 91.3, 91.9, 90.4]}
    line = csv_of(study_of(values, analysis={"correction": correction}))[1]
    p = float(line["p_corrected"])
    assert verdicts({"correction": correction, "alpha": p}, values)["a"] == "inconclusive"
    assert verdicts({"correction": correction, "alpha": math.nextafter(p, 1)}, values)["a"] == "better"


@pytest.mark.parametrize("correction", ["holm", "bh", "dunnett", "none"])
def test_p_of_the_equivalence_equal_to_alpha_claims_nothing(correction):
    values = {"baseline": [90.0, 91.0, 92.0, 90.5], "a": [90.1, 90.9, 92.2, 90.4], "b": [90.2, 91.3, 91.9, 90.4]}
    analysis = {"correction": correction, "margin": 0.5}
    p = float(csv_of(study_of(values, analysis=analysis))[1]["p_equivalence_corrected"])
    assert verdicts({**analysis, "alpha": p}, values)["a"] == "inconclusive"
    assert verdicts({**analysis, "alpha": math.nextafter(p, 1)}, values)["a"] == "equivalent"


@pytest.mark.parametrize("interval", ["unadjusted", "simultaneous"])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_a_margin_at_the_end_of_an_interval(alpha, interval):
    """TOST of one arm at alpha is its interval of level 1 - 2 alpha; Dunnett's equivalence its simultaneous one."""
    values = {"baseline": [90.0, 91.0, 92.0, 90.5, 91.0], "a": [90.2, 90.9, 92.2, 90.6, 91.3]}
    if interval == "unadjusted":
        analysis: dict[str, object] = {"correction": "none", "alpha": 2 * alpha}
    else:
        values["b"] = [91.0, 92.5, 92.8, 91.9, 92.0]
        analysis = {"correction": "dunnett", "interval": "simultaneous", "alpha": alpha}
    high = float(csv_of(study_of(values, analysis=analysis))[1]["top1_delta_high"])
    chosen = {**analysis, "alpha": alpha}
    line = csv_of(study_of(values, analysis={**chosen, "margin": high}))[1]
    assert float(line["p_equivalence_corrected"]) == pytest.approx(alpha, rel=1e-9)
    for factor, verdict in ((1 - 1e-6, False), (1 + 1e-6, True)):
        found = verdicts({**chosen, "margin": high * factor}, values)["a"]
        assert (found == "equivalent") == verdict


@pytest.mark.parametrize("number", range(6))
def test_the_step_down_over_both_hypotheses_is_a_closed_test(number):
    """No p-value after the correction is below that of the closed test with Bonferroni's for every set of hypotheses
    that can be true together, which bounds false claims of any kind by alpha (Marcus, Peritz and Gabriel 1976)."""
    random = np.random.default_rng(number)
    arms, others = int(random.integers(1, 6)), int(random.integers(0, 3))
    keys = [(f"a{arm}", which) for arm in range(arms) for which in ("p", "p_equivalence")]
    raw = dict(zip(keys, (10 ** random.uniform(-4, 0, len(keys))).tolist(), strict=True))
    stepped = correct(list(raw.values()), arms + others, "holm", has_margin=True)
    least = closed_test(raw, arms + others)
    assert all(p >= least[key] - 1e-15 for key, p in zip(raw, stepped, strict=True))
