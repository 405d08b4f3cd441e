"""Which arms go on: by hand, against the simulation that follows whole studies, and whatever the order of results."""

from __future__ import annotations

import numpy as np
import pytest

from results.plan.comparison import Analysis, Rounds
from results.stats.sequential.simulation import follow, simulate
from results.stats.sequential.standing import Ends, Standing, standings

LOOKS = [3, 5, 8, 12]
ROUNDS = Rounds(looks=LOOKS, effect=1.5)
SEEDS = tuple(range(12))
Study = dict[str, Ends]


def study(differences: np.ndarray) -> Study:
    """Arms of one study, of shape (seeds, arms), with a baseline of zeros."""
    return {f"arm{arm}": dict(enumerate(map(float, differences[:, arm]))) for arm in range(differences.shape[1])}


def outcome(arms: Study, **fields) -> dict[str, Standing]:
    rounds = fields.pop("rounds", ROUNDS)
    analysis = fields.pop("analysis", Analysis())
    baseline = fields.pop("baseline", dict.fromkeys(SEEDS, 0.0))
    return standings(arms, baseline, SEEDS, rounds=rounds, analysis=analysis, **fields)


def test_by_hand() -> None:
    """|t| at 3 seeds: 0.06 is futile, 2 goes on, 1000 is decided (c = 105 of one arm, 770 of three)."""
    arms: Study = {
        "none": {0: 1.0, 1: -1.0, 2: 0.1},
        "some": {0: 1.0, 1: 2.0, 2: 4.0},
        "sure": {0: 1.0, 1: 1.001, 2: 1.002},
    }
    assert outcome(arms) == {"none": Standing(3, "futile"), "some": Standing(5), "sure": Standing(3, "decided")}
    futile_only = Rounds(looks=LOOKS, effect=1.5, stop="futile")
    assert outcome(arms, rounds=futile_only)["sure"] == Standing(5)
    none = Rounds(looks=LOOKS)
    assert outcome(arms, rounds=none)["none"] == Standing(5)


def test_nothing_is_known_yet() -> None:
    assert outcome({"a": {}, "b": {0: 1.0}}) == {"a": Standing(3), "b": Standing(3)}


def test_a_trial_without_a_value_holds_its_arm_and_one_of_the_baseline_all() -> None:
    arms: Study = {"a": {0: 1.0, 1: None, 2: 3.0}, "b": {0: 1.0, 1: 2.0, 2: 4.0}}
    assert outcome(arms) == {"a": Standing(3, "held"), "b": Standing(5)}
    assert outcome(arms, baseline={0: 0.0, 1: 0.0, 2: None}) == {"a": Standing(3, "held"), "b": Standing(3, "held")}


def test_an_arm_waits_only_for_what_can_change_its_future() -> None:
    """Of |t| = 200 at 3 seeds: claimed if it is the last of two arms (c = 106), not if both are left (368)."""
    near = {0: 1.0, 1: 1.009, 2: 0.992}
    t = np.mean(list(near.values())) / np.std(list(near.values()), ddof=1) * np.sqrt(3)
    assert 106.3 < t < 368
    waits: Study = {"near": near, "other": {0: 1.0}}
    assert outcome(waits)["near"] == Standing(3)  # the other may be claimed, and then so is this one
    goes_on: Study = {"near": near, "other": {0: 1.0, 1: 2.0, 2: 4.0}}
    assert outcome(goes_on)["near"] == Standing(5)
    claimed: Study = {"near": near, "other": {0: 1.0, 1: 1.0001, 2: 1.0002}}
    assert outcome(claimed)["near"] == Standing(3, "decided")
    free: Study = {"near": {0: 1.0, 1: 2.0, 2: 4.0}, "other": {0: 1.0}}
    assert outcome(free)["near"] == Standing(5)  # no result of the other can claim or stop it


def test_the_order_of_results_changes_nothing() -> None:
    """Results come in one by one, for the trials that are asked for: the end is that of all results at once."""
    generator = np.random.default_rng(8)
    for number in range(25):
        whole = study(generator.standard_normal((12, 4)) + np.array([0, 0, 1.5, 4.0]))
        final = outcome(whole)
        arms: Study = {name: {} for name in whole}
        baseline: dict[int, float | None] = {}
        for _ in range(200):
            found = outcome(arms, baseline=baseline)
            most = max(each.num_seeds for each in found.values())
            waiting = [("", seed) for seed in range(most) if seed not in baseline]
            waiting += [
                (name, seed) for name in arms for seed in range(found[name].num_seeds) if seed not in arms[name]
            ]
            if not waiting:
                break
            name, seed = waiting[int(generator.integers(len(waiting)))]
            if name:
                arms[name] = {**arms[name], seed: whole[name][seed]}
            else:
                baseline[seed] = 0.0
        assert outcome(arms, baseline=baseline) == final, number


@pytest.mark.default_run(
    "rounds0-analysis0",
    "rounds0-analysis1",
    "rounds0-analysis2",
    "rounds1-analysis2",
    "rounds2-analysis1",
    "rounds2-analysis2",
)
@pytest.mark.parametrize("analysis", [Analysis(), Analysis(correction="none"), Analysis(sequential="anytime")])
@pytest.mark.parametrize(
    "rounds", [ROUNDS, Rounds(looks=[3, 4, 6], spending="pocock", smallest=1.0), Rounds(looks=[4, 12], stop="futile")]
)
def test_simulated_studies_are_the_same_study_by_study(rounds: Rounds, analysis: Analysis) -> None:
    differences = np.random.default_rng(9).standard_normal((20, 12, 3)) + np.array([0, 1.0, 5.0])
    for one in differences:
        arms = study(one)
        found = outcome(arms, rounds=rounds, analysis=analysis)
        simulated = follow(rounds, analysis, one[None], np.zeros(3, bool))
        most = max(each.num_seeds for each in found.values())
        assert simulated.trainings == most + sum(each.num_seeds for each in found.values())


def test_power_and_trainings_of_the_recorded_study() -> None:
    """One true arm of 1.5 SD among five nulls, looks 3, 5, 8, 12, of 40,000 studies elsewhere: fixed .956; without
    futility .951 at 98 % of 84 trainings; e-process .664 at 98 %."""
    effects = (1.5, *[0.0] * 5)
    assert simulate(Rounds(looks=[12]), Analysis(), effects).found[0] == pytest.approx(0.956, abs=0.006)
    whole = simulate(Rounds(looks=LOOKS), Analysis(), effects)
    assert whole.found[0] == pytest.approx(0.951, abs=0.006)
    assert whole.trainings / 84 == pytest.approx(0.98, abs=0.006)
    e_process = simulate(Rounds(looks=LOOKS), Analysis(sequential="anytime"), effects)
    assert e_process.found[0] == pytest.approx(0.664, abs=0.012)


def test_what_futility_promises() -> None:
    """Against a fixed n = 12: power .93 with 62 % of the trainings at 1.5 SD, 56 % at 3 SD; `strong`: .90, 55, 50."""
    for is_strong, power, share, share_of_three in ((False, 0.93, 0.62, 0.56), (True, 0.90, 0.55, 0.50)):
        rounds = Rounds(looks=LOOKS, effect=1.5, is_strong=is_strong)
        one, three = (simulate(rounds, Analysis(), (effect, *[0.0] * 5)) for effect in (1.5, 3.0))
        assert one.found[0] >= power - 0.004  # one simulation error
        assert one.trainings / 84 <= share
        assert three.trainings / 84 <= share_of_three


def test_margin_decides_equivalence() -> None:
    """Of two arms without an effect, the one whose repeated interval at the level 1 - 0.05 / 2 is within the margin."""
    arms: Study = {
        "same": {seed: 0.01 * (-1) ** seed for seed in SEEDS},
        "loose": {seed: 3.0 * (-1) ** seed for seed in SEEDS},
    }
    found = outcome(arms, rounds=Rounds(looks=LOOKS), analysis=Analysis(margin=1.0))
    assert found["same"].stopped == "decided"
    assert found["same"].num_seeds < 12
    assert found["loose"] == Standing(12)
