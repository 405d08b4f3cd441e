"""Proposals of a search and candidates of `retune` that break a relation are not trained: records with the reason."""

from __future__ import annotations

from results import LedgerWriter, read_ledger
from results.store.run_layout import RunDir
from runners.driver.orchestrator import Orchestrator
from runners.driver.retune import stages
from runners.planning.make_plan import make_plan
from runners.trials.outcome import Outcome
from search_space import load_sweep

BASELINE = """
    name: t
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1}
      task: {dataset: builtin/digits, val_fraction: 0.2}
      train: {epochs: 4, batch_size: 256}
"""
SEARCH = """
    space: {train.warmup_epochs: [0, 3], train.epochs: [2, 4], train.opt: [sgd, adamw], train.momentum: [0.9, 0.5]}
    design: search
    search: {sampler: brute_force, num_trials: 16}
"""
RETUNE = """
    space: {train.epochs: [4, 2]}
    design: one_factor
    seeds: [0]
    retune: {parameters: {train.warmup_epochs: [0, 3]}, num_trials: 8, seeds: [100, 101], sampler: random}
"""


def play(orchestrator):
    """Plays the engine: every trial completes."""
    trained = []
    while (assignment := orchestrator.ask()) is not None:
        for epoch in range(1, assignment.spec.train.epochs + 1):
            orchestrator.report(assignment.trial_id, {"epoch": epoch, "train_loss": 1.0, "val_top1": 50.0})
        orchestrator.finish(assignment.trial_id, Outcome("completed", {"top1": 50.0, "val_top1": 50.0}))
        trained.append(assignment.spec.train)
    return trained


def infeasible(run_dir):
    """(epochs, warmup_epochs, optimizer, momentum) -> the reason of every infeasible record."""
    names = ("epochs", "warmup_epochs", "opt", "momentum")
    records = [record for record in read_ledger(RunDir(run_dir).ledger).records if record.status == "infeasible"]
    return {tuple(record.spec["train"][name] for name in names): record.failure.message for record in records}


def test_proposals_that_break_a_relation(write_sweep, tmp_path):
    """Of 16 combinations, 4 warm up too long, and 4 give adamw a momentum; one of these does both."""
    plan = make_plan(load_sweep(write_sweep(BASELINE + SEARCH)))
    with LedgerWriter(tmp_path / "run") as ledger:
        trained = play(Orchestrator(plan, ledger))
    assert len(trained) == 9
    assert all(train.warmup_epochs < train.epochs for train in trained)
    warmup = "warmup_epochs < epochs must hold, but got warmup_epochs=3, epochs=2"
    momentum = "'adamw' has no momentum, so 0.5 would have no effect"
    assert infeasible(tmp_path / "run") == {
        (2, 3, "sgd", 0.9): warmup,
        (2, 3, "sgd", 0.5): warmup,
        (2, 3, "adamw", 0.9): warmup,
        (2, 3, "adamw", 0.5): warmup,
        (2, 0, "adamw", 0.5): momentum,
        (4, 0, "adamw", 0.5): momentum,
        (4, 3, "adamw", 0.5): momentum,
    }


def test_candidates_of_retune_that_break_a_relation(write_sweep, tmp_path):
    """A warm-up of 3 fits the baseline's 4 epochs, but not the 2 of the other variant."""
    plan = make_plan(load_sweep(write_sweep(BASELINE + RETUNE)))
    for _ in range(2):  # a second start adds no second record
        with LedgerWriter(tmp_path / "run") as ledger:
            for stage in stages(plan, ledger):
                play(Orchestrator(stage.plan, ledger, role=stage.role))
    records = read_ledger(RunDir(tmp_path / "run").ledger).records
    tuned = {
        (record.spec["train"]["epochs"], record.spec["train"]["warmup_epochs"], record.status)
        for record in records
        if record.role == "retune"
    }
    assert tuned == {(4, 0, "completed"), (4, 3, "completed"), (2, 0, "completed"), (2, 3, "infeasible")}
    message = "warmup_epochs < epochs must hold, but got warmup_epochs=3, epochs=2"
    assert infeasible(tmp_path / "run") == {(2, 3, "adamw", 0.9): message}
    assert [record.role for record in records if record.status == "infeasible"] == ["retune"]
