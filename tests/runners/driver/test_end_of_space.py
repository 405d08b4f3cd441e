"""The end of a finite space: a budget above its size is a complete run, whatever the sampler, and stays one."""

from __future__ import annotations

import pytest

from results import LedgerWriter, Run, write_plan
from results.store.run_layout import RunDir
from results.views.status import run_status
from runners.driver.orchestrator import Orchestrator
from runners.planning.make_plan import make_plan
from runners.trials.outcome import Failure, Outcome
from search_space import load_sweep_text

pytestmark = pytest.mark.thorough

HEAD = """name: t
baseline:
  arch: {model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1}
  task: {dataset: builtin/digits, val_fraction: 0.2}
  train: {epochs: 1, batch_size: 256}
design: search
"""
TWO = "space: {arch.depth: [1, 2]}\n"
TWELVE = "space: {arch.depth: {min: 1, max: 3}, train.recalibrate_bn: [1, 2, 3, 4]}\n"


def play(run_dir, text, *, fails=lambda spec: False):
    """Plays the engine; returns the orchestrator and how many trials were trained."""
    plan = make_plan(load_sweep_text(HEAD + text))
    trained = 0
    with LedgerWriter(run_dir) as ledger:
        write_plan(RunDir(run_dir), plan.as_run_plan())
        orchestrator = Orchestrator(plan, ledger)
        while (assignment := orchestrator.ask()) is not None:
            trained += 1
            value = 50.0 + assignment.spec.arch.depth
            orchestrator.report(assignment.trial_id, {"epoch": 1, "train_loss": 1.0, "val_top1": value})
            result = Outcome("completed", {"top1": value, "val_top1": value})
            failure = Failure(type="RuntimeError", message="made up")
            orchestrator.finish(assignment.trial_id, failure if fails(assignment.spec) else result)
        if orchestrator.is_exhausted:
            write_plan(RunDir(run_dir), plan.as_run_plan(num_trials=orchestrator.num_planned))
    return orchestrator, trained


def status(run_dir):
    found = run_status(Run.open(run_dir), now=0.0)
    return found.num_planned, found.num_completed, found.num_missing


@pytest.mark.parametrize("sampler", ["brute_force", "random", "tpe", "qmc", "nsgaii"])
@pytest.mark.parametrize(("space", "size"), [(TWO, 2), (TWELVE, 12)])
def test_a_budget_above_the_size_of_the_space_is_a_complete_run(tmp_path, sampler, space, size):
    text = f"{space}search: {{sampler: {sampler}, num_trials: 40}}\nseeds: 2\n"
    orchestrator, trained = play(tmp_path, text)
    assert (trained, orchestrator.num_remaining, orchestrator.is_exhausted) == (2 * size, 0, True)
    assert status(tmp_path) == (2 * size, 2 * size, 0)
    again, more = play(tmp_path, text)
    assert (more, again.num_startable, again.is_exhausted) == (0, 0, True)


@pytest.mark.parametrize("sampler", ["brute_force", "random", "tpe"])
def test_variants_that_cannot_be_trained_are_no_part_of_the_budget(tmp_path, sampler):
    text = f"{TWELVE}search: {{sampler: {sampler}, num_trials: 12}}\nrequire: [arch.depth < 3]\n"
    orchestrator, trained = play(tmp_path, text)
    assert (trained, orchestrator.num_remaining, orchestrator.is_exhausted) == (8, 0, True)
    assert status(tmp_path) == (12, 8, 0)  # 4 are infeasible
    again, more = play(tmp_path, text)
    assert (more, again.num_startable) == (0, 0)
    assert status(tmp_path) == (12, 8, 0)


def test_the_space_is_not_exhausted_before_it_is(tmp_path):
    text = "{space}search: {{sampler: random, num_trials: {budget}}}\n"
    orchestrator, trained = play(tmp_path, text.format(space=TWELVE, budget=12))
    assert (trained, orchestrator.is_exhausted) == (12, False)
    assert status(tmp_path) == (12, 12, 0)


def test_failures_count_as_tried(tmp_path):
    text = f"{TWO}search: {{sampler: random, num_trials: 6}}\n"
    orchestrator, trained = play(tmp_path, text, fails=lambda spec: spec.arch.depth == 2)
    assert (trained, orchestrator.num_remaining) == (2, 0)
    assert status(tmp_path) == (2, 1, 0)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_lowered_budget_leaves_nothing_to_do(tmp_path, sampler):
    """It said that -5 trials remain."""
    text = "{}search: {{sampler: {}, num_trials: {}}}\n"
    play(tmp_path, text.format(TWELVE, sampler, 6))
    orchestrator, trained = play(tmp_path, text.format(TWELVE, sampler, 1))
    assert (trained, orchestrator.num_remaining, orchestrator.num_startable) == (0, 0, 0)
    assert orchestrator.num_planned == 6
    assert status(tmp_path) == (6, 6, 0)
    _, more = play(tmp_path, text.format(TWELVE, sampler, 7))
    assert more == 1


def test_a_raised_budget_goes_on_after_the_end_of_a_smaller_space(tmp_path):
    text = "space: {{arch.depth: {}}}\nsearch: {{sampler: random, num_trials: 9}}\n"
    assert play(tmp_path, text.format("[1, 2]"))[1] == 2
    assert play(tmp_path, text.format("[1, 2, 3]"))[1] == 1


@pytest.mark.thorough
def test_run_and_status_say_so(archsweep, tmp_path):
    (tmp_path / "s.yaml").write_text(HEAD + TWO + "search: {sampler: brute_force, num_trials: 6}\n")
    done = archsweep("run", "s.yaml", "--engine", "in-process", cwd=tmp_path)
    assert done.returncode == 0
    said = " ".join(done.stderr.split())
    assert "the space has only 2 variants to train, so the search is complete before num_trials=6" in said
    shown = archsweep("status", "runs/t", cwd=tmp_path).stdout
    assert shown.startswith("t: 2 of 2 trials done (100 %)\n  2 completed\n")
    planned = archsweep("plan", "s.yaml", cwd=tmp_path).stdout
    assert "The space has only 2 variants: the search is complete with these." in planned
    lowered = archsweep("run", "s.yaml", "--engine", "in-process", "--set", "search.num_trials=1", cwd=tmp_path)
    assert lowered.returncode == 0
    assert "remain" not in lowered.stdout + lowered.stderr
