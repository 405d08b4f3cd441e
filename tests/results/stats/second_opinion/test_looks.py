"""Columns of tables with looks, and with tests that hold at any number of seeds, by other formulas (looks.py).

Boundaries agree to 1e-10, as do e-values. A p-value at a later look is interpolated between boundaries (documented: to
1e-4), so of it is asked that the boundary of a level 2e-4 above is crossed, and that of a level 2e-4 below is not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy import stats

from results import ablation_table
from results.plan.comparison import Rounds
from results.stats.sequential.boundaries import critical_values

from .looks import allowed, anytime_half_width, anytime_p, boundaries, crossed, first_level
from .opinion import correct
from .studies import Trial, lines_of, plan_of, records_of, study_of

pytestmark = pytest.mark.thorough

RELATIVE = 1e-10
LATER = 1e-5
OF_P = 2e-4
ALPHA = 0.05
Values = Mapping[str, Sequence[float | None]]


@dataclass
class Opinion:
    """Which arms stop when, and what is claimed, by critical values alone: no p-value is computed.

    Args:
        values: of each arm, in the order of the seeds; the baseline first.
    """

    values: Values
    rounds: Rounds
    margin: float | None = None
    numbers: dict[str, int] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.arms = list(self.values)[1:]
        active = self.arms
        for number in self.rounds.looks:
            self.numbers |= dict.fromkeys(active, number)
            self.stopped |= {arm: "held" for arm in active if None in self.values[arm][:number]}
            active = [arm for arm in active if arm not in self.stopped]
            claimed = {arm for arm, _ in self.claims()}
            for arm in active:
                if arm in claimed:
                    self.stopped[arm] = "decided"
                elif number < self.rounds.looks[-1] and self.is_futile(arm):
                    self.stopped[arm] = "futile"
            active = [arm for arm in active if arm not in self.stopped]
        base = next(iter(self.values))
        self.numbers[base] = max(self.numbers.values())

    def differences(self, arm: str, number: int) -> np.ndarray:
        return np.subtract(self.values[arm][:number], next(iter(self.values.values()))[:number])

    def t(self, arm: str, number: int, shift: float = 0.0) -> float:
        return float(stats.ttest_1samp(self.differences(arm, number), shift).statistic)

    def crosses(self, arm: str, kind: str, level: float) -> bool:
        if self.stopped.get(arm) == "held":
            return False
        found = list(
            zip(self.rounds.looks, boundaries(tuple(self.rounds.looks), level, self.rounds.spending), strict=True)
        )
        seen = [(n, c) for n, c in found if n <= self.numbers[arm]]
        if kind == "difference":
            return any(abs(self.t(arm, n)) >= c for n, c in seen)
        assert self.margin is not None
        return any(-self.t(arm, n, self.margin) >= c for n, c in seen) and any(
            self.t(arm, n, -self.margin) >= c for n, c in seen
        )

    def claims(self) -> set[tuple[str, str]]:
        """Holm's steps: one hypothesis after the other, at levels that rise as those before are rejected."""
        kinds = ["difference"] if self.margin is None else ["difference", "equivalence"]
        left = {(arm, kind) for arm in self.arms for kind in kinds}
        claimed: set[tuple[str, str]] = set()
        while left:
            # Of the two hypotheses of an arm at most one is true.
            level = ALPHA / min(len(self.arms), len(left))
            found = {one for one in left if self.crosses(*one, level)}
            if not found:
                break
            claimed.add(min(found))
            left -= {min(found)}
        return claimed

    def is_futile(self, arm: str) -> bool:
        number, effect = self.numbers[arm], self.rounds.effect
        if effect is None:
            return False
        t, shift = self.t(arm, number), effect * math.sqrt(number)
        both = stats.nct.pdf(t, number - 1, shift) + stats.nct.pdf(-t, number - 1, shift)
        return bool(both / 2 / stats.t.pdf(t, number - 1) < (0.25 if self.rounds.is_strong else 0.1))

    def verdict(self, arm: str) -> str:
        if self.stopped.get(arm) == "held":
            return "incomplete"
        claims = self.claims()
        if (arm, "equivalence") in claims:
            return "equivalent"
        if (arm, "difference") not in claims:
            return "inconclusive"
        return "better" if self.t(arm, self.numbers[arm]) > 0 else "worse"


def drawn(number: int, effects: Sequence[float], seeds: int) -> dict[str, list[float | None]]:
    random = np.random.default_rng([30, number])
    base = 90 + random.normal(0, 1, seeds)
    found = {"baseline": base.tolist()}
    for at, effect in enumerate(effects):
        found[f"arm{at}"] = (base + effect + random.normal(0, 1, seeds)).tolist()
    return found


def lines(opinion: Opinion, **analysis) -> dict[str, dict[str, str]]:
    """Of the table of what is asked for, and of nothing else; a trial without a value has failed."""
    trained = {arm: list(values[: opinion.numbers[arm]]) for arm, values in opinion.values.items()}
    study = study_of(trained, analysis={"margin": opinion.margin, "alpha": ALPHA, **analysis})
    for index, arm in enumerate(study.arms):
        failed = {seed: Trial("failed") for seed, value in enumerate(trained[arm.name]) if value is None}
        study = study.of(index, trials={**arm.trials, **failed})
    plan = plan_of(study)
    plan = plan.model_copy(update={"rounds": opinion.rounds, "seeds": list(range(opinion.rounds.looks[-1]))})
    return {line["variant"]: line for line in lines_of(ablation_table(plan, records_of(study)))}


def assert_agrees(opinion: Opinion, *, has_later_p: bool) -> None:
    looks, spending = tuple(opinion.rounds.looks), opinion.rounds.spending
    assert lines(opinion)["baseline"]["seeds_planned"] == str(opinion.numbers["baseline"])
    for interval in ("unadjusted", "simultaneous"):
        found = lines(opinion, interval=interval)
        level = ALPHA / (len(opinion.arms) if interval == "simultaneous" else 1)
        critical = dict(zip(looks, boundaries(looks, level, spending), strict=True))
        for arm in opinion.arms:
            line, number = found[arm], opinion.numbers[arm]
            stopped = opinion.stopped.get(arm, "")
            assert (line["seeds_planned"], line["stopped"], line["verdict"]) == (
                str(number),
                stopped,
                opinion.verdict(arm),
            )
            assert json.loads(line["looks"]) == list(looks)
            assert (line["p_sign_flip"], line["bootstrap_low"]) == ("", "")
            if stopped == "held":
                assert line["p"] == line["p_corrected"] == ""
                continue
            d = opinion.differences(arm, number)
            half = critical[number] * stats.sem(d)
            relative = RELATIVE if number in looks[:2] else LATER
            ends = [float(line["top1_delta_low"]), float(line["top1_delta_high"])]
            assert ends == pytest.approx([d.mean() - half, d.mean() + half], rel=relative, abs=relative * half)
            p = float(line["p"])
            if number == looks[0]:
                share = number / looks[-1]
                assert p == pytest.approx(first_level(abs(opinion.t(arm, number)), number, share, spending), rel=1e-10)
            elif has_later_p and p < 0.9:
                assert opinion.crosses(arm, "difference", p * (1 + OF_P))
                assert not opinion.crosses(arm, "difference", p * (1 - OF_P))
                if opinion.margin is not None and (both := float(line["p_equivalence"])) < 0.9:
                    assert opinion.crosses(arm, "equivalence", both * (1 + OF_P))
                    assert not opinion.crosses(arm, "equivalence", both * (1 - OF_P))
    assert_corrected(found, opinion.arms, has_margin=opinion.margin is not None)


def assert_corrected(found: Mapping[str, dict[str, str]], arms: Sequence[str], *, has_margin: bool) -> None:
    """Holm's correction of the table's own p-values, by statsmodels without a margin."""
    columns = ("p", "p_equivalence") if has_margin else ("p",)
    raw = {(arm, name): float(found[arm][name]) for name in columns for arm in arms if found[arm][name]}
    after = correct(list(raw.values()), len(arms), "holm", has_margin=has_margin)
    ours = [float(found[arm][f"{name}_corrected"]) for arm, name in raw]
    assert ours == pytest.approx(after, rel=RELATIVE)


@pytest.mark.default_run("pocock")
@pytest.mark.parametrize("spending", ["obf", "pocock", "power"])
def test_boundaries_of_two_looks(spending):
    ours = critical_values((3, 6), ALPHA, spending)
    assert boundaries((3, 6), ALPHA, spending) == pytest.approx(ours, rel=RELATIVE)


@pytest.mark.slow
@pytest.mark.parametrize("spending", ["obf", "pocock", "power"])
@pytest.mark.parametrize(
    ("looks", "alpha"), [((3, 5, 8, 12), 0.05), ((3, 5, 8, 12), 1e-3), ((4, 5, 6), 0.2), ((3, 4, 15), 0.01)]
)
def test_share_that_crosses_by_each_look(looks, alpha, spending):
    critical = critical_values(looks, alpha, spending)
    for number in range(1, len(looks) + 1):
        spent = allowed(alpha, looks[number - 1] / looks[-1], spending)
        # From the second look on both are quadratures over functions with root-like ends, of six digits or more.
        relative = RELATIVE if number == 1 else LATER
        assert crossed(looks[:number], critical[:number]) == pytest.approx(spent, rel=relative, abs=1e-13)


@pytest.mark.parametrize(
    "spending", [pytest.param("obf", marks=pytest.mark.slow), "pocock", pytest.param("power", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("number", [0, *(pytest.param(each, marks=pytest.mark.slow) for each in (1, 2))])
def test_tables_of_two_looks(spending, number):
    rounds = Rounds(looks=[3, 6], spending=spending, effect=1.5)
    assert_agrees(Opinion(drawn(number, [0, 3], 6), rounds), has_later_p=False)


@pytest.mark.slow
@pytest.mark.parametrize("spending", ["obf", "pocock"])
@pytest.mark.parametrize("margin", [None, 2.5])
def test_tables_of_four_looks(spending, margin):
    """Five studies of three arms, one with a failed trial; p-values of later looks in one of them."""
    rounds = Rounds(looks=[3, 5, 8, 12], spending=spending, effect=1.5, is_strong=margin is not None)
    ends = set()
    for number in range(5):
        values = drawn(number, [0, 1, 3], 12)
        if number == 4:
            values["arm1"][4] = None
        opinion = Opinion(values, rounds, margin)
        assert_agrees(opinion, has_later_p=number < 1)
        ends |= {(opinion.stopped.get(arm, ""), opinion.verdict(arm)) for arm in opinion.arms}
    assert {stopped for stopped, _ in ends} >= {"decided", "futile", "held"}
    assert "better" in {verdict for _, verdict in ends}


@pytest.mark.default_run("None-3", "None-5", "4.0-3", "4.0-5")
@pytest.mark.parametrize("seeds", [3, 5, 9])
@pytest.mark.parametrize("margin", [None, 4.0])
def test_tables_at_any_number_of_seeds(seeds, margin):
    values = drawn(seeds, [0, 1, 5], seeds)
    study = study_of(values, analysis={"sequential": "anytime", "margin": margin, "alpha": ALPHA})
    found = {line["variant"]: line for line in lines_of(ablation_table(plan_of(study), records_of(study)))}
    arms = list(values)[1:]
    for arm in arms:
        d, line = np.subtract(values[arm], values["baseline"]), found[arm]
        assert float(line["p"]) == pytest.approx(anytime_p(d), rel=RELATIVE)
        if margin is not None:
            sides = [anytime_p(d, margin, -1), anytime_p(d, -margin, 1)]
            assert float(line["p_equivalence"]) == pytest.approx(max(sides), rel=RELATIVE)
        half = anytime_half_width(d, ALPHA)
        ends = [line["top1_delta_low"], line["top1_delta_high"]]
        if half is None:
            assert ends == ["", ""]
        else:
            assert [float(end) for end in ends] == pytest.approx([d.mean() - half, d.mean() + half], rel=1e-9)
        equivalence = line["p_equivalence_corrected"]
        is_equivalent = bool(equivalence) and float(equivalence) < ALPHA
        is_claimed = float(line["p_corrected"]) < ALPHA
        side = "better" if d.mean() > 0 else "worse"
        assert line["verdict"] == ("equivalent" if is_equivalent else side if is_claimed else "inconclusive")
    assert_corrected(found, arms, has_margin=margin is not None)
