"""Pruning over seeds: a variant is judged beside others at the same seeds; one that is given up gets no further one."""

from __future__ import annotations

import pytest

from results import read_ledger
from results.table.build import ablation_table
from runners.search.optuna_factory import PRUNERS
from runners.trials.outcome import Outcome

DESIGN = """
    name: raced
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, patch_size: 4, class_token: false}
      train: {epochs: 1}
    space: {arch.depth: [1, 2, 3]}
    design: one_factor
    prune: {pruner: wilcoxon, p_threshold: 0.1}
    seeds: 8
"""

SEARCH = """
    name: raced_search
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, patch_size: 4, class_token: false}
      train: {epochs: 3}
    space: {arch.depth: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}
    design: search
    search: {sampler: brute_force, num_trials: 10, seed: 0}
    prune: {pruner: median, over: seeds, n_startup_trials: 2, n_warmup_steps: 0}
    seeds: 4
"""


def play(book, value, *, stop_after=None):
    """Trains what the book asks for, one trial after the other; `value(depth, seed)` is the top1 of each epoch."""
    ended = []
    while len(ended) != stop_after and (assignment := book.ask()) is not None:
        depth, seed = assignment.spec.arch.depth, assignment.spec.seed
        for epoch in range(1, assignment.spec.train.epochs + 1):
            assert not book.report(assignment.trial_id, {"epoch": epoch, "train_loss": 1.0, "top1": value(depth, seed)})
        book.finish(assignment.trial_id, Outcome("completed", {"top1": value(depth, seed)}))
        ended.append((depth, seed))
    return ended


def noisy(depth, seed):
    """Seeds differ by 20 points, depths by 1: only pairs can tell them apart. Depth 3 is always worse, 2 never."""
    return 50 + [0, 20, -20, 10, -10, 5, 15, -15][seed] + {1: 0.0, 2: 1.0 + 0.1 * seed, 3: -1.0 - 0.1 * seed}[depth]


def test_wilcoxon_gives_up_what_is_worse_at_every_seed(write_sweep, open_book):
    """n losses out of n have p = 2^-n (one-sided, exact): 0.125 after 3 seeds, 0.0625 < 0.1 after 4. So depth 3 gets 4
    seeds of 8, and the baseline, worse than depth 2 as often, all of them: every difference refers to it."""
    book = open_book(write_sweep(DESIGN))
    trained = play(book, noisy)
    assert [seed for depth, seed in trained if depth == 3] == [0, 1, 2, 3]
    assert [seed for depth, seed in trained if depth == 2] == [*range(8)]
    assert [seed for depth, seed in trained if depth == 1] == [*range(8)]
    assert book.num_remaining == 0


def test_seeds_of_a_variant_that_was_given_up_are_records_of_their_own(write_sweep, open_book, tmp_path):
    """They are pruned, not missing: nothing trains them later, and the table says why they have no value."""
    path = write_sweep(DESIGN)
    book = open_book(path)
    play(book, noisy)
    assert play(open_book(path), noisy) == []
    table = ablation_table(book.plan.as_run_plan(), read_ledger(tmp_path / "run" / "ledger.jsonl").records)
    row = next(row for row in table.rows if row.name == "depth=3")
    assert (row.num_completed, row.num_pruned, row.num_missing, row.pruned_epochs) == (4, 4, 0, (0, 0, 0, 0))
    assert row.verdict == "incomplete"


@pytest.mark.parametrize("stop_after", [1, 9, 11, 13])
def test_a_resumed_race_ends_as_an_undisturbed_one(write_sweep, open_book, stop_after):
    path = write_sweep(DESIGN)
    whole = play(open_book(path, run="whole"), noisy)
    first = play(open_book(path, run="parts"), noisy, stop_after=stop_after)
    assert first + play(open_book(path, run="parts"), noisy) == whole


@pytest.mark.thorough
def test_a_search_spends_no_further_seed_on_what_is_below_the_median(write_sweep, open_book):
    """Depth d has top1 = d. From the third proposal on, one whose first seed is below the median of the earlier ones
    gets no second seed; every other gets all four."""
    book = open_book(write_sweep(SEARCH))
    trained = play(book, lambda depth, seed: float(depth))
    order = list(dict.fromkeys(depth for depth, _ in trained))
    finished, expected = [], {}
    for depth in order:
        ranked = sorted(finished)
        median = (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2 if len(ranked) >= 2 else 0
        expected[depth] = 1 if depth < median else 4
        finished.append(depth)  # whoever has finished one seed is compared with others at that seed
    assert {depth: sum(d == depth for d, _ in trained) for depth in order} == expected
    assert sorted(order) == [*range(1, 11)]
    assert 1 in expected.values()


@pytest.mark.thorough
def test_the_sampler_learns_the_mean_over_the_seeds(write_sweep, open_book):
    """Seed 3 turns the order of the depths round; what a search is about is the mean, in which depth 1 is best."""
    text = SEARCH.replace("prune:", "# prune:").replace("brute_force", "tpe")
    book = open_book(write_sweep(text))
    play(book, lambda depth, seed: 100.0 * depth if seed == 3 else -100.0 * depth)
    told = {trial.params["arch.depth"]: trial.value for trial in book.study.get_trials() if trial.value is not None}
    assert told == {depth: pytest.approx(-50.0 * depth) for depth in told}
    assert len(told) == 10


@pytest.mark.parametrize("name", sorted(PRUNERS))
@pytest.mark.parametrize("over", ["epochs", "seeds"])
def test_every_pruner_of_optuna_prunes_or_lets_pass(write_sweep, open_book, tmp_path, name, over):
    """Over epochs and over seeds; the baseline is complete in any case, and every trial ends as one of two."""
    options = {
        "patient": "wrapped_pruner: median, patience: 0",
        "percentile": "percentile: 25.0, n_startup_trials: 1",
        "median": "n_startup_trials: 1, n_warmup_steps: 0",
        "threshold": "lower: 40.0",
        "hyperband": "min_resource: 1, max_resource: 4, reduction_factor: 2",
    }.get(name, "")
    if name == "wilcoxon" and over == "epochs":
        pytest.skip("refused: see tests/search_space/loading/test_load.py")
    text = DESIGN.replace("pruner: wilcoxon, p_threshold: 0.1", f"pruner: {name}, over: {over}, {options}".rstrip(", "))
    book = open_book(write_sweep(text.replace("epochs: 1", "epochs: 4").replace("seeds: 8", "seeds: 4")))
    statuses = {}
    while (assignment := book.ask()) is not None:
        key, depth = assignment.trial_id, assignment.spec.arch.depth
        for epoch in range(1, 5):
            # Depth 2 learns, depth 3 unlearns.
            value = 50.0 + {1: 0, 2: epoch, 3: -4 * epoch}[depth]
            if book.report(key, {"epoch": epoch, "train_loss": 1.0, "top1": value}):
                book.finish(key, None)
                break
        else:
            book.finish(key, Outcome("completed", {"top1": value}))
    for record in read_ledger(tmp_path / "run" / "ledger.jsonl").records:
        statuses.setdefault(record.spec["arch"]["depth"], []).append(record.status)
    assert statuses[1] == ["completed"] * 4
    assert {status for found in statuses.values() for status in found} <= {"completed", "pruned"}
    assert sum(map(len, statuses.values())) == 12
    if name in ("median", "percentile", "threshold", "wilcoxon"):
        assert ("pruned" in statuses[3]) == (name != "wilcoxon")  # 4 seeds are one too few for p < 0.1 twice
        assert "pruned" not in statuses[2]
    if name == "nop":
        assert "pruned" not in statuses[3]
