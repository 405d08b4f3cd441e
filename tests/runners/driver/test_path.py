"""Greedy paths in a run: the same trials and steps whether it is interrupted or not, and none beyond."""

from __future__ import annotations

import csv
import json

import pytest

from results import Failure, Run, ablation_table
from results.effects.path import path_effects
from results.views.status import run_status
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from runners.trials.outcome import Outcome
from search_space import load_sweep_text

SWEEP = """
    name: path
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1}
      train: {epochs: 1, batch_size: 512, lr: 0.003}
    space: {train.lr: [0.003, 0.006], train.weight_decay: [0.05, 0.051], arch.mlp_ratio: [1, 2]}
    design: path
    seeds: 6
"""


def run(where, text=SWEEP, limit=None):
    outcome = run_sweep(make_plan(load_sweep_text(text)), where, engine="in-process", limit=limit)
    return Run.open(where), outcome


def trained(run: Run) -> set[tuple[str, int]]:
    return {(record.variant, record.seed) for record in run.records}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole") / "run")


@pytest.mark.thorough
def test_a_run_trains_what_its_own_steps_ask_for(whole):
    """By the definition, from the records alone: candidates at seeds 0 to 2, what is judged at seeds 3 to 5."""
    found, outcome = whole
    path = ablation_table(found.plan, found.records).path
    value = {(record.variant, record.seed): record.metrics["top1"] for record in found.records}
    expected, here = {("baseline", seed) for seed in (3, 4, 5)}, []
    names = ["lr", "weight_decay", "mlp_ratio"]

    def name(on):
        return " ".join(f"+ {each}" for each in names if each in on) or "baseline"

    for step in path.steps:
        candidates = [name([*here, each]) for each in names if each not in here]
        if len(candidates) > 1:
            expected |= {(each, seed) for each in candidates for seed in (0, 1, 2)}
            means = [sum(value[each, seed] for seed in (0, 1, 2)) for each in candidates]
            assert step.chosen.name == candidates[means.index(max(means))]
        here.append(step.chosen.component)
        expected |= {(step.chosen.name, seed) for seed in (3, 4, 5)}
    expected |= {(name(on), seed) for on in ([each] for each in names) for seed in (3, 4, 5)}
    expected |= {(name([each for each in names if each != out]), seed) for out in names for seed in (3, 4, 5)}
    assert trained(found) == expected
    assert (path.is_whole, outcome.remaining) == (True, 0)
    status = run_status(found, now=0.0)
    assert status.is_finished
    # 3 and 2 candidates at 3 seeds; none, 3 alone, 3 but one and all at 3 seeds
    assert (status.num_planned, status.num_at_most) == (39, 39)


@pytest.mark.thorough
def test_a_run_in_pieces_trains_the_same(whole, tmp_path):
    """Stopped after every eighth training: nothing is remembered but the records."""
    for _ in range(20):
        found, outcome = run(tmp_path / "run", limit=8)
        status = run_status(found, now=0.0)
        assert status.num_planned <= status.num_at_most == 39
        if not outcome.remaining:
            break
    assert trained(found) == trained(whole[0])
    ours, theirs = (path_effects(ablation_table(each.plan, each.records)) for each in (found, whole[0]))
    assert ours == theirs


@pytest.mark.thorough
def test_a_run_writes_its_steps_and_what_each_trial_was_for(whole):
    found, _ = whole
    stored = json.loads((found.path / "plan.json").read_text())
    assert stored["path"] == {"choosing": [0, 1, 2], "compare": True}
    steps = list(csv.DictReader((found.path / "path.csv").read_text().splitlines()))
    effects = path_effects(ablation_table(found.plan, found.records))
    assert [row["component"] for row in steps] == [one.component for one in effects.steps]
    assert [float(row["gain"]) for row in steps] == [one.gain.mean for one in effects.steps]
    trials = list(csv.DictReader((found.path / "trials.csv").read_text().splitlines()))
    assert len(trials) == 39
    assert {(row["seed"] in "012", row["purpose"]) for row in trials} == {(True, "choosing"), (False, "judging")}


@pytest.mark.thorough
def test_without_a_comparison_only_the_path_is_judged(tmp_path):
    found, _ = run(tmp_path / "run", SWEEP.replace("design: path", "design: {name: path, compare: false}"))
    rows = ablation_table(found.plan, found.records).rows
    assert len(rows) == 4
    assert len(found.records) == 15 + 4 * 3


VALUES = {"+ lr": 60.0, "+ weight_decay": 55.0, "+ mlp_ratio": 50.0, "+ lr + weight_decay": 70.0}


def completed(value: float) -> Outcome:
    return Outcome("completed", {"top1": value, "loss": 1.0}, train_seconds=1.0, total_seconds=2.0, device="cpu")


def play(orchestrator, *, fails=(), stop_after=10_000):
    """Trains everything, one after the other; returns (variant, seed) in order."""
    ended = []
    while len(ended) < stop_after and (assignment := orchestrator.ask()) is not None:
        trial = assignment.variant.name, assignment.spec.seed
        result = Failure(type="ValueError", message="no") if trial in fails else completed(VALUES.get(trial[0], 40.0))
        orchestrator.finish(assignment.trial_id, result)
        ended.append(trial)
    return ended


def test_the_next_step_waits_for_all_candidates_of_this_one(write_sweep, open_orchestrator):
    """Trials are under way at once, as on a cluster."""
    orchestrator = open_orchestrator(write_sweep(SWEEP))
    begun = []
    while (assignment := orchestrator.ask()) is not None:
        begun.append(assignment)
    names = {(each.variant.name, each.spec.seed) for each in begun}
    assert ("+ lr + weight_decay", 0) not in names
    choosing = [each for each in begun if each.spec.seed < 3]
    assert len(choosing) == 9
    for each in choosing[:-1]:
        orchestrator.finish(each.trial_id, completed(VALUES[each.variant.name]))
        assert orchestrator.ask() is None
    orchestrator.finish(choosing[-1].trial_id, completed(VALUES[choosing[-1].variant.name]))
    further = {orchestrator.ask().variant.name for _ in range(6)}
    assert further == {"+ lr + weight_decay", "+ lr + mlp_ratio"}


def test_a_candidate_that_failed_is_passed_over_and_chosen_once_it_succeeds(write_sweep, open_orchestrator):
    """+ lr is the best, and fails at one seed; run again, it is chosen, and the steps from there on are trained."""
    path = write_sweep(SWEEP)
    first = play(open_orchestrator(path), fails={("+ lr", 1)})
    assert ("+ weight_decay + mlp_ratio", 0) in first
    assert play(open_orchestrator(path)) == []
    again = play(open_orchestrator(path, retry=frozenset({"failed"})))
    assert again[0] == ("+ lr", 1)
    assert ("+ lr + mlp_ratio", 0) in again


def test_a_candidate_that_is_trained_again_is_waited_for(write_sweep, open_orchestrator):
    """Symptom: while a failed trial ran once more, its old record decided the step without it."""
    orchestrator = open_orchestrator(write_sweep(SWEEP))
    begun = []
    while (assignment := orchestrator.ask()) is not None:
        begun.append(assignment)
    choosing = [each for each in begun if each.spec.seed < 3]
    lacking = next(each for each in choosing if each.variant.name == "+ lr")
    failure = Failure(type="OutOfMemory", message="CUDA out of memory")
    orchestrator.finish(lacking.trial_id, failure, may_retry_exclusively=True)
    for each in choosing:
        if each is not lacking:
            orchestrator.finish(each.trial_id, completed(VALUES[each.variant.name]))
    retried = orchestrator.ask()
    assert (retried.trial_id, retried.attempt) == (lacking.trial_id, 2)
    assert orchestrator.ask() is None
    orchestrator.finish(retried.trial_id, completed(60.0))
    assert {orchestrator.ask().variant.name for _ in range(6)} == {"+ lr + weight_decay", "+ lr + mlp_ratio"}


@pytest.mark.default_run("7", "10", "13")
@pytest.mark.parametrize("stop_after", [1, 7, 10, 13])
def test_a_driver_that_is_killed_goes_on_with_the_same_steps(write_sweep, open_orchestrator, stop_after):
    path = write_sweep(SWEEP)
    whole = play(open_orchestrator(path, run="whole"))
    parts = []
    while part := play(open_orchestrator(path, run="parts"), stop_after=stop_after):
        parts += part
    assert set(parts) == set(whole)
    assert len(parts) == len(whole) == 39


def test_choosing_with_other_seeds_after_results_is_a_later_decision(tmp_path):
    found, _ = run(tmp_path / "run", limit=12)
    assert not found.plan.decided_later
    found, _ = run(tmp_path / "run", SWEEP.replace("design: path", "design: {name: path, choosing_seeds: 2}"), limit=0)
    assert [each.what for each in found.plan.decided_later] == ["design.choosing_seeds"]
