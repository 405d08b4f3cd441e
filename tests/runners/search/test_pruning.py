"""Pruning over seeds: a variant is compared with others at the same seeds; a pruned one gets no further seed."""

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


def play(orchestrator, value, *, stop_after=None):
    """Simulate the orchestrator's trials sequentially; `value(depth, seed)` is the top1 of each epoch."""
    ended = []
    while len(ended) != stop_after and (assignment := orchestrator.ask()) is not None:
        depth, seed = assignment.spec.arch.depth, assignment.spec.seed
        for epoch in range(1, assignment.spec.train.epochs + 1):
            assert not orchestrator.report(
                assignment.trial_id, {"epoch": epoch, "train_loss": 1.0, "top1": value(depth, seed)}
            )
        orchestrator.finish(assignment.trial_id, Outcome("completed", {"top1": value(depth, seed)}))
        ended.append((depth, seed))
    return ended


def noisy(depth, seed):
    """Seeds differ by 20 points, depths by 1: only paired comparison detects it. Depth 3 is always worse, 2 never."""
    return 50 + [0, 20, -20, 10, -10, 5, 15, -15][seed] + {1: 0.0, 2: 1.0 + 0.1 * seed, 3: -1.0 - 0.1 * seed}[depth]


def test_wilcoxon_gives_up_what_is_worse_at_every_seed(write_sweep, open_orchestrator):
    """n losses out of n have p = 2^-n (one-sided, exact): 0.125 after 3 seeds, 0.0625 < 0.1 after 4. So depth 3 gets 4
    seeds of 8. The baseline is worse than depth 2 as often, but gets all of them: every difference refers to it."""
    orchestrator = open_orchestrator(write_sweep(DESIGN))
    trained = play(orchestrator, noisy)
    assert [seed for depth, seed in trained if depth == 3] == [0, 1, 2, 3]
    assert [seed for depth, seed in trained if depth == 2] == [*range(8)]
    assert [seed for depth, seed in trained if depth == 1] == [*range(8)]
    assert orchestrator.num_remaining == 0


def test_seeds_of_a_variant_that_was_given_up_are_records_of_their_own(write_sweep, open_orchestrator, tmp_path):
    """They are pruned, not missing: they are not trained later, and the table states why they have no value."""
    path = write_sweep(DESIGN)
    orchestrator = open_orchestrator(path)
    play(orchestrator, noisy)
    assert play(open_orchestrator(path), noisy) == []
    table = ablation_table(orchestrator.plan.as_run_plan(), read_ledger(tmp_path / "run" / "ledger.jsonl").records)
    row = next(row for row in table.rows if row.name == "depth=3")
    assert (row.num_completed, row.num_pruned, row.num_missing, row.pruned_epochs) == (4, 4, 0, (0, 0, 0, 0))
    assert row.verdict == "incomplete"


@pytest.mark.parametrize("stop_after", [1, 9, 11, 13])
def test_a_resumed_race_ends_as_an_undisturbed_one(write_sweep, open_orchestrator, stop_after):
    path = write_sweep(DESIGN)
    whole = play(open_orchestrator(path, run="whole"), noisy)
    first = play(open_orchestrator(path, run="parts"), noisy, stop_after=stop_after)
    assert first + play(open_orchestrator(path, run="parts"), noisy) == whole


@pytest.mark.thorough
def test_a_search_trains_no_further_seed_of_variants_below_the_median(write_sweep, open_orchestrator):
    """Depth d has top1 = d. From the third proposal on, one whose first seed is below the median of the earlier ones
    gets no second seed; every other gets all four."""
    orchestrator = open_orchestrator(write_sweep(SEARCH))
    trained = play(orchestrator, lambda depth, seed: float(depth))
    order = list(dict.fromkeys(depth for depth, _ in trained))
    finished, expected = [], {}
    for depth in order:
        ranked = sorted(finished)
        median = (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2 if len(ranked) >= 2 else 0
        expected[depth] = 1 if depth < median else 4
        finished.append(depth)  # a variant with one finished seed is compared with others at that seed
    assert {depth: sum(d == depth for d, _ in trained) for depth in order} == expected
    assert sorted(order) == [*range(1, 11)]
    assert 1 in expected.values()


@pytest.mark.thorough
def test_the_sampler_receives_the_mean_over_the_seeds(write_sweep, open_orchestrator):
    """Seed 3 reverses the order of the depths; the search optimises the mean, in which depth 1 is best."""
    text = SEARCH.replace("prune:", "# prune:").replace("brute_force", "tpe")
    orchestrator = open_orchestrator(write_sweep(text))
    play(orchestrator, lambda depth, seed: 100.0 * depth if seed == 3 else -100.0 * depth)
    values = {
        trial.params["arch.depth"]: trial.value for trial in orchestrator.study.get_trials() if trial.value is not None
    }
    assert values == {depth: pytest.approx(-50.0 * depth) for depth in values}
    assert len(values) == 10


@pytest.mark.parametrize("name", sorted(PRUNERS))
@pytest.mark.parametrize("over", ["epochs", "seeds"])
def test_every_pruner_of_optuna_decides_on_every_trial(write_sweep, open_orchestrator, tmp_path, name, over):
    """Over epochs and over seeds; the baseline is always completed, and every trial is completed or pruned."""
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
    orchestrator = open_orchestrator(
        write_sweep(text.replace("epochs: 1", "epochs: 4").replace("seeds: 8", "seeds: 4"))
    )
    statuses = {}
    while (assignment := orchestrator.ask()) is not None:
        key, depth = assignment.trial_id, assignment.spec.arch.depth
        for epoch in range(1, 5):
            # Depth 2 improves, depth 3 gets worse.
            value = 50.0 + {1: 0, 2: epoch, 3: -4 * epoch}[depth]
            if orchestrator.report(key, {"epoch": epoch, "train_loss": 1.0, "top1": value}):
                orchestrator.finish(key, None)
                break
        else:
            orchestrator.finish(key, Outcome("completed", {"top1": value}))
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
