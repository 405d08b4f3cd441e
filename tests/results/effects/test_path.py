"""Greedy paths: which trials the results ask for, what of them is judged, and how often noise is claimed."""

from __future__ import annotations

import itertools
import math
import random
from statistics import fmean, stdev

import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from results import ablation_table
from results.effects.path import path_effects
from results.layout.caption import caption
from results.layout.footnotes import footnotes
from results.table.asked.by_results import num_trials_asked, num_trials_at_most, seeds_asked
from results.table.asked.path import most_asked, walk
from results.table.planned import planned_trials
from search_space import SpecError

SEEDS = (0, 1, 2, 3, 4, 5)


def coalitions(names):
    return [frozenset(each) for size in range(len(names) + 1) for each in itertools.combinations(names, size)]


def text(one):
    return "".join(sorted(one)) or "-"


@pytest.fixture
def plan_of(plan, planned):
    """The plan of a path; `dropped` are combinations."""

    def build(names, *, choosing=(0, 1, 2), compare=True, dropped=(), seeds=SEEDS, **fields):
        variants = [
            planned(
                text(each),
                components={name: name in each for name in names},
                is_baseline=not each,
                dropped="params_m < 1" if each in dropped else "",
            )
            for each in coalitions(names)
        ]
        path = {"choosing": list(choosing), "compare": compare}
        return plan(*variants, design="path", seeds=list(seeds), path=path, **fields)

    return build


@pytest.fixture
def run_of(record):
    """Train what a plan asks for, as a driver does: (record of each trial in its order, which were asked for)."""

    def train(plan, game, *, lost=(), most=10_000):
        found, asked = [], []
        while len(found) < most:
            by_variant = planned_trials(plan, found)
            wanted = [(key, seed) for key, seeds in seeds_asked(plan, by_variant).items() for seed in seeds]
            left = [pair for pair in wanted if pair not in asked]
            if not left:
                break
            key, seed = left[0]
            name = key.removeprefix("id-")
            one = frozenset(name) - {"-"}
            found.append(record(name, seed, None if (one, seed) in lost else float(game(one, seed))))
            asked.append((key, seed))
        return found

    return train


def additive(effects):
    """A seed's own level and the effects of what is on."""
    return lambda one, seed: 80 + 3 * seed + sum(effects[name] for name in one)


def noisy(one, seed):
    jitter = ((37 * len(one) + 11 * sum(map(ord, one)) + 53 * seed * (1 + len(one))) % 17) / 10
    return 80 + 3 * seed + 2 * ("a" in one) + ("b" in one) + 1.5 * ({"a", "b"} <= set(one)) + jitter


def components_of(path):
    return [step.chosen.component for step in path.taken]


def by_brute_force(names, game, choosing, sign=1):
    """The definition: at each step the best mean over the choosing seeds, of equal ones the first."""
    here, order = frozenset(), []
    while len(here) < len(names):
        left = [name for name in names if name not in here]
        means = [fmean(game(here | {name}, seed) for seed in choosing) for name in left]
        best = left[max(range(len(left)), key=lambda index: (sign * means[index], -index))]
        order.append(best)
        here |= {best}
    return order


@pytest.mark.parametrize("salt", range(12))
@pytest.mark.parametrize("names", ["ab", "abc", "abcd"])
def test_steps_are_those_of_the_definition(plan_of, run_of, names, salt):
    draw = random.Random(salt)
    values = {(one, seed): draw.gauss(90, 1) for one in coalitions(names) for seed in SEEDS}

    def game(one, seed):
        return values[one, seed]

    plan = plan_of(names)
    path = ablation_table(plan, run_of(plan, game)).path
    assert components_of(path) == by_brute_force(names, game, (0, 1, 2))


def test_a_lower_loss_is_better(plan_of, record):
    names = "abc"
    draw = random.Random(3)
    values = {(one, seed): draw.gauss(1, 0.1) for one in coalitions(names) for seed in SEEDS}
    plan = plan_of(names, metric="loss")
    records = [
        record(text(one), seed, 50.0, metrics={"top1": 50.0, "loss": value}) for (one, seed), value in values.items()
    ]
    path = ablation_table(plan, records).path
    assert components_of(path) == by_brute_force(names, lambda one, seed: values[one, seed], (0, 1, 2), sign=-1)


def test_equal_means_take_the_first_of_the_file(plan_of, run_of):
    plan = plan_of("cab")
    assert components_of(ablation_table(plan, run_of(plan, additive({"a": 1, "b": 1, "c": 1}))).path) == ["c", "a", "b"]


def test_only_what_is_asked_for_is_trained(plan_of, run_of):
    """a, b, c by hand: step 1 tries a, b and c at seeds 0 to 2, step 2 tries ab and ac, the last has no choice."""
    plan = plan_of("abc", compare=False)
    trained = {(one.variant, one.seed) for one in run_of(plan, additive({"a": 3, "b": 2, "c": 1}))}
    chosen = {(name, seed) for name in ("a", "b", "c", "ab", "ac") for seed in (0, 1, 2)}
    judged = {(name, seed) for name in ("-", "a", "ab", "abc") for seed in (3, 4, 5)}
    assert trained == chosen | judged
    compared = {(one.variant, one.seed) for one in run_of(plan_of("abc"), additive({"a": 3, "b": 2, "c": 1}))}
    assert compared == trained | {(name, seed) for name in ("b", "c", "ac", "bc") for seed in (3, 4, 5)}


@pytest.mark.parametrize("compare", [True, False])
@pytest.mark.parametrize("dropped", [(), ("b", "ac"), ("abc",), ("a", "b", "c")])
@pytest.mark.parametrize("names", ["ab", "abc", "abcd"])
def test_the_bound_is_the_largest_of_all_paths(plan_of, record, names, compare, dropped):
    """By brute force: every order of the components is the path of a game in which they gain less and less."""
    plan = plan_of(names, compare=compare, dropped=[frozenset(each) for each in dropped])
    numbers = []
    for order in itertools.permutations(names):
        gain = {name: 10 ** (len(names) - place) for place, name in enumerate(order)}
        records = [
            record(text(one), seed, float(sum(gain[name] for name in one)))
            for one in coalitions(names)
            for seed in SEEDS
        ]
        trials = planned_trials(plan, records)
        numbers.append(num_trials_asked(plan, trials))
        assert num_trials_at_most(plan, trials) == numbers[-1]  # once the path is known there is nothing to bound
    assert num_trials_at_most(plan, {}) == max(numbers)
    judging = most_asked(plan, walk(plan, {}), lambda key, seed: seed >= 3)
    choosing = most_asked(plan, walk(plan, {}), lambda key, seed: seed < 3)
    assert max(judging, choosing) <= max(numbers) <= judging + choosing


def test_trials_of_four_components_by_hand(plan_of):
    """Choosing 4 + 3 + 2 candidates; judging none, 4 alone, 4 but one, all, and one of two: 9 x 3 + 11 x 3."""
    assert num_trials_at_most(plan_of("abcd"), {}) == 60
    assert num_trials_at_most(plan_of("abcd", compare=False), {}) == 9 * 3 + 5 * 3


def test_gains_are_those_of_the_judging_seeds_by_scipy(plan_of, run_of):
    plan = plan_of("abc", seeds=range(8), choosing=(0, 1, 2))
    table = ablation_table(plan, run_of(plan, noisy))
    found = path_effects(table)
    order = by_brute_force("abc", noisy, (0, 1, 2))
    steps = [frozenset(order[:size]) for size in range(4)]
    ps = []
    for place, one in enumerate(found.steps):
        own = [noisy(steps[place + 1], seed) - noisy(steps[place], seed) for seed in range(3, 8)]
        half = stats.t.ppf(0.975, 4) * stdev(own) / math.sqrt(5)
        assert (one.place, one.component) == (place + 1, order[place])
        assert one.gain.differences == pytest.approx(own)
        assert (one.gain.low, one.gain.high) == pytest.approx((fmean(own) - half, fmean(own) + half))
        ps.append(stats.ttest_1samp(own, 0).pvalue)
        alone = [noisy(frozenset(order[place]), seed) - noisy(frozenset(), seed) for seed in range(3, 8)]
        rest = frozenset("abc") - {order[place]}
        in_full = [noisy(frozenset("abc"), seed) - noisy(rest, seed) for seed in range(3, 8)]
        assert (one.alone.mean, one.in_full.mean) == pytest.approx((fmean(alone), fmean(in_full)))
    assert [one.p for one in found.steps] == pytest.approx(ps)
    assert [one.p_corrected for one in found.steps] == pytest.approx(list(multipletests(ps, method="holm")[1]))
    whole = [noisy(frozenset("abc"), seed) - noisy(frozenset(), seed) for seed in range(3, 8)]
    assert found.whole.differences == pytest.approx(whole)
    assert math.fsum(one.gain.mean for one in found.steps) == pytest.approx(fmean(whole))
    gains = [one.gain.mean for one in found.steps]
    for tau, name in ((found.tau_alone, "alone"), (found.tau_in_full, "in_full")):
        assert tau == pytest.approx(stats.kendalltau(gains, [getattr(one, name).mean for one in found.steps]).statistic)


def test_the_gain_at_the_choosing_seeds_needs_both_rows(plan_of, run_of):
    """Of a 3, b 2, c 1: the baseline has no choosing seed, and the last step had nothing to choose."""
    found = path_effects(ablation_table(plan := plan_of("abc"), run_of(plan, additive({"a": 3, "b": 2, "c": 1}))))
    assert [one.choosing_gain for one in found.steps] == [None, 2, None]
    assert [one.num_candidates for one in found.steps] == [3, 2, 1]


def test_rows_are_in_the_order_of_the_path_and_of_the_judging_seeds_alone(plan_of, run_of):
    plan = plan_of("abc")
    records = run_of(plan, additive({"a": 1, "b": 3, "c": 2}))
    table = ablation_table(plan, records)
    assert [row.name for row in table.rows] == ["-", "b", "bc", "abc", "a", "c", "ac", "ab"]
    assert table.seeds == (3, 4, 5)
    assert {tuple(record.seed for record in row.records) for row in table.rows} == {(3, 4, 5)}
    assert all((row.num_planned, row.num_missing) == (3, 0) for row in table.rows)
    assert table.num_foreign == 0
    said = " ".join(sentence.text for sentence in caption(table))
    assert "seeds 0, 1, 2 chose what is added at each step, and are in no mean, difference or test here" in said
    assert "seeds 3, 4, 5 judged, and chose nothing" in said
    alone = ablation_table(plan := plan_of("abc", compare=False), run_of(plan, additive({"a": 1, "b": 3, "c": 2})))
    assert [row.name for row in alone.rows] == ["-", "b", "bc", "abc"]
    assert [one.alone is None for one in path_effects(alone).steps] == [False, True, True]


def test_records_that_the_path_does_not_ask_for_change_nothing(plan_of, run_of, record):
    """Those of a run that had every combination at every seed, as a `shapley` with the same settings."""
    plan = plan_of("abc")
    asked = run_of(plan, noisy)
    every = [record(text(one), seed, float(noisy(one, seed))) for one in coalitions("abc") for seed in SEEDS]
    ours, theirs = (ablation_table(plan, records) for records in (asked, every))
    assert path_effects(ours) == path_effects(theirs)
    assert [row.name for row in ours.rows] == [row.name for row in theirs.rows]
    assert (ours.num_foreign, theirs.num_foreign) == (0, len(every) - len(asked))


def test_the_order_of_the_ledger_does_not_matter(plan_of, run_of):
    plan = plan_of("abcd")
    records = run_of(plan, noisy)
    shuffled = random.Random(0).sample(records, len(records))
    assert path_effects(ablation_table(plan, records)) == path_effects(ablation_table(plan, shuffled))


@pytest.mark.parametrize("most", [0, 1, 5, 17, 30])
def test_a_run_in_pieces_asks_for_the_same(plan_of, run_of, most):
    plan = plan_of("abcd")
    whole = run_of(plan, noisy)
    part = run_of(plan, noisy, most=most)
    assert whole[: len(part)] == part
    path = ablation_table(plan, part).path
    assert components_of(path) == components_of(ablation_table(plan, whole).path)[: len(path.taken)]
    assert not path.ended


def test_a_candidate_with_a_failed_choosing_seed_is_not_chosen(plan_of, run_of):
    plan = plan_of("abc")
    table = ablation_table(plan, run_of(plan, additive({"a": 3, "b": 2, "c": 1}), lost=[(frozenset("a"), 1)]))
    assert components_of(table.path) == ["b", "a", "c"]
    notes = " ".join(footnotes(table))
    assert "Not to be chosen at step 1: a (seed 1 failed)." in notes
    assert all(row.num_failed == 0 for row in table.rows)  # a failed at a choosing seed, of which the table has none


def test_a_path_without_a_candidate_ends_and_says_so(plan_of, run_of):
    plan = plan_of("abc")
    lost = [(frozenset(one), 0) for one in ("ab", "ac")]
    table = ablation_table(plan, run_of(plan, additive({"a": 3, "b": 2, "c": 1}), lost=lost))
    found = path_effects(table)
    assert [one.component for one in found.steps] == ["a"]
    assert found.whole is None
    assert "The path ends after 1 of 3 steps: no candidate has a value at every choosing seed." in footnotes(table)


def test_dropped_combinations_are_no_candidates(plan_of, run_of):
    """Without ab and ac nothing follows a; with ac alone it follows without a choice."""
    game = additive({"a": 3, "b": 2, "c": 1})
    plan = plan_of("abc", dropped=[frozenset("ab"), frozenset("ac")])
    table = ablation_table(plan, run_of(plan, game))
    assert components_of(table.path) == ["a"]
    assert table.path.ended == "every combination with one component more is dropped"
    plan = plan_of("abc", dropped=[frozenset("ab")])
    records = run_of(plan, game)
    table = ablation_table(plan, records)
    assert components_of(table.path) == ["a", "c", "b"]
    assert {one.seed for one in records if one.variant == "ac"} == {3, 4, 5}
    plan = plan_of("ab", dropped=[frozenset("ab")])
    assert ablation_table(plan, run_of(plan, game)).path.ended == "the full combination is dropped"


def test_a_failed_judging_seed_makes_the_step_incomplete(plan_of, run_of):
    plan = plan_of("ab", seeds=range(8), choosing=(0, 1, 2))
    table = ablation_table(plan, run_of(plan, noisy, lost=[(frozenset("a"), 4)]))
    found = path_effects(table)
    assert [one.verdict for one in found.steps] == ["incomplete", "incomplete"]
    assert [one.gain.num_pairs for one in found.steps] == [4, 4]
    assert found.whole.num_pairs == 4  # the gains of the steps add up to it


def test_a_single_judging_seed_has_no_interval(plan_of, run_of):
    plan = plan_of("ab", seeds=range(2), choosing=(0,))
    (first, _) = path_effects(ablation_table(plan, run_of(plan, noisy))).steps
    assert (first.gain.low, first.p, first.verdict) == (None, None, None)


def test_other_designs_have_no_path(plan, planned, record):
    table = ablation_table(plan(planned("baseline", is_baseline=True)), [record("baseline", 0, 90.0)])
    with pytest.raises(SpecError, match="gains of steps need the design 'path', not 'one_factor'"):
        path_effects(table)


def test_the_weights_that_the_analysis_selects_choose_too(plan_of, record):
    """The last epoch says a, the best one of the validation split b."""
    plan = plan_of("ab", analysis={"selection": "best-val"})
    values = {"-": (1, 1), "a": (9, 2), "b": (2, 9), "ab": (9, 9)}
    records = [
        record(name, seed, 1.0, metrics={"top1": 10.0 * last, "top1@best_val": 10.0 * best})
        for name, (last, best) in values.items()
        for seed in SEEDS
    ]
    assert components_of(ablation_table(plan, records).path) == ["b", "a"]


@pytest.mark.slow
@pytest.mark.thorough
def test_of_noise_the_judging_seeds_claim_little_and_the_choosing_seeds_flatter_the_first_step(plan_of, record):
    """Four components without any effect, 5 seeds to choose and 5 to judge, 1500 runs of trials whose standard
    deviation is 1.

    Judged, any of the four steps after Holm: 0.05 x 1500 = 75 and three standard deviations of 8.4. The first step at
    the seeds that chose it: too good by the expectation of the largest of 4 normal means of 5, 1.0294 / sqrt(5) = 0.46,
    and better at the level 0.05 in 0.07 of the runs (a simulation of the definition with numpy) in place of 0.025.
    """
    names, seeds = "abcd", range(10)
    plan = plan_of(names, seeds=seeds, choosing=range(5), compare=False)
    template = {one: record(text(one), 0, 90.0) for one in coalitions(names)}
    draw = random.Random(20_26)
    num, claimed, judged, flattered = 1500, 0, [], []
    for _ in range(num):
        values = {(one, seed): draw.gauss(90, 1) for one in coalitions(names) for seed in seeds}
        records = [
            template[one].model_copy(
                update={"trial_id": f"{text(one)}-{seed}", "seed": seed, "metrics": {"top1": value}}
            )
            for (one, seed), value in values.items()
        ]
        steps = path_effects(ablation_table(plan, records)).steps
        claimed += any(each.p_corrected < 0.05 for each in steps)
        first = frozenset(steps[0].component)
        judged.append([values[first, seed] - values[frozenset(), seed] for seed in range(5, 10)])
        flattered.append([values[first, seed] - values[frozenset(), seed] for seed in range(5)])
        assert steps[0].gain.differences == pytest.approx(judged[-1])
    assert claimed <= 75 + 3 * 8.4
    assert fmean(map(fmean, judged)) == pytest.approx(0, abs=0.05)
    assert fmean(map(fmean, flattered)) == pytest.approx(1.0294 / math.sqrt(5), abs=0.05)
    better = [
        sum(stats.ttest_1samp(each, 0, alternative="greater").pvalue < 0.025 for each in runs)
        for runs in (judged, flattered)
    ]
    assert better[0] <= 37.5 + 3 * 6.0
    assert better[1] > 2 * 37.5


def test_the_caption_counts_the_trainings_that_chose(plan_of, record):
    """15 and 24 trials of 36 s are 0.39 h."""
    plan = plan_of("abc")
    records = [
        record(text(one), seed, 90.0 - seed + len(one), train_seconds=36.0)
        for one in coalitions("abc")
        for seed in SEEDS
    ]
    said = [sentence.text for sentence in caption(ablation_table(plan, records))]
    assert "Compute: 0.39 h of optimisation in all (39 trials)." in said
