"""Searches: constraints reach the sampler, workers never get the same trial, an interrupted search resumes."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from optuna.trial import TrialState

from results import read_ledger, write_plan
from runners.search.optuna_factory import SAMPLERS
from runners.trials.outcome import Outcome
from search_space import SpecError

pytestmark = pytest.mark.thorough

SEARCH = """
    name: searched
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, patch_size: 4, class_token: false}
      train: {epochs: 1}
    space:
      arch.depth: {min: 1, max: 12}
      train.lr: {min: 0.0005, max: 0.01, log: true}
    require: ["arch.depth <= 3"]
    design: search
    search: {sampler: tpe, num_trials: 30, seed: 7, n_startup_trials: 5}
"""

DISCRETE = """
    name: discrete
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, patch_size: 4, class_token: false}
      train: {epochs: 1}
    space: {arch.depth: [1, 2, 3, 4], arch.mlp_ratio: [1, 2, 3]}
    design: search
    search: {sampler: brute_force, num_trials: 50, seed: 7}
"""


def finish(orchestrator, assignment):
    """Report an accuracy independent of depth, so that only the requirement can guide the sampler."""
    value = 50 + 1000 * assignment.spec.train.lr
    orchestrator.report(assignment.trial_id, {"epoch": 1, "train_loss": 1.0, "top1": value})
    return orchestrator.finish(assignment.trial_id, Outcome("completed", {"top1": value}))


def play(orchestrator, *, stop_after=None):
    ended = []
    while len(ended) != stop_after and (assignment := orchestrator.ask()) is not None:
        finish(orchestrator, assignment)
        ended.append(assignment)
    return ended


def num_infeasible(orchestrator):
    return sum(record.status == "infeasible" for record in orchestrator.records.values())


def test_tpe_learns_the_feasible_region(write_sweep, open_orchestrator):
    """A quarter of the space is feasible: random sampling needs about 90 infeasible proposals for 30 trained trials."""
    learning = open_orchestrator(write_sweep(SEARCH), run="learning")
    assert len(play(learning)) == 30
    blind = open_orchestrator(
        write_sweep(SEARCH.replace("tpe", "random").replace(", n_startup_trials: 5", "")), run="blind"
    )
    assert len(play(blind)) == 30
    assert num_infeasible(blind) > 60
    assert num_infeasible(learning) < 30


@pytest.mark.default_run("tpe")
@pytest.mark.thorough
@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", pytest.param("gp", marks=pytest.mark.slow), "nsgaii"])
def test_an_interrupted_search_proposes_what_it_would_have(write_sweep, open_orchestrator, sampler):
    """Killed twice, with infeasible proposals before and between."""
    text = (
        SEARCH.replace("tpe", sampler).replace(", n_startup_trials: 5", "").replace("num_trials: 30", "num_trials: 12")
    )
    whole = [a.trial_id for a in play(open_orchestrator(write_sweep(text), run="whole"))]
    parts = [
        a.trial_id
        for stop in (4, 3, None)
        for a in play(open_orchestrator(write_sweep(text), run="parts"), stop_after=stop)
    ]
    assert parts == whole
    assert len(whole) == 12


@pytest.mark.slow
def test_eight_workers_never_get_the_same_trial(write_sweep, open_orchestrator):
    orchestrator = open_orchestrator(write_sweep(DISCRETE))
    running, seen = [], []
    while True:
        while len(running) < 8 and (assignment := orchestrator.ask()) is not None:
            running.append(assignment)
            seen.append(assignment.trial_id)
        if not running:
            break
        finish(orchestrator, running.pop(0))
    assert len(seen) == len(set(seen)) == 12  # the whole space; then the search ends


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_parallel_samplers_repeat_nothing_either(write_sweep, open_orchestrator, sampler):
    orchestrator = open_orchestrator(
        write_sweep(DISCRETE.replace("brute_force", sampler).replace("num_trials: 50", "num_trials: 10"))
    )
    running = [orchestrator.ask() for _ in range(8)]
    assert len({assignment.trial_id for assignment in running}) == 8
    for assignment in running:
        finish(orchestrator, assignment)
    more = play(orchestrator)
    assert len({a.trial_id for a in [*running, *more]}) == 10


REQUIRE = '    require: ["arch.depth <= 3"]\n'
TWO = SEARCH.replace("num_trials: 30", "num_trials: 16, objectives: [top1, gmacs]").replace(REQUIRE, "")
# Samplers without multi-objective optimisation, and the message before any training.
REFUSED = {"cma_es": "CmaEsSampler optimises one objective, but there are 2"}


def named(text, sampler):
    """Sweep with another sampler; an exhaustive one needs a step for floats."""
    text = text.replace("tpe", sampler).replace(", n_startup_trials: 5", "")
    return text.replace("max: 0.01, log: true", "max: 0.0035, step: 0.001") if sampler == "brute_force" else text


def two_sided(assignment):
    """Top1 where deeper is better and more expensive: every depth is on the Pareto front at its best learning rate."""
    rate = assignment.spec.train.lr
    return 50.0 + 2 * assignment.spec.arch.depth - 100 * abs(rate - 0.002)


def play_two(orchestrator, value=two_sided):
    while (assignment := orchestrator.ask()) is not None:
        top1 = value(assignment)
        if orchestrator.report(assignment.trial_id, {"epoch": 1, "train_loss": 1.0, "top1": top1}):
            orchestrator.finish(assignment.trial_id, None)
        else:
            orchestrator.finish(assignment.trial_id, Outcome("completed", {"top1": top1}))


@pytest.mark.default_run("brute_force", "cma_es", "nsgaii", "nsgaiii", "qmc", "random", "tpe")
@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_sampler_searches_for_one_and_for_two_objectives(write_sweep, open_orchestrator, tmp_path, name):
    text = named(TWO, name)
    one = open_orchestrator(write_sweep(text.replace(", objectives: [top1, gmacs]", "")), run="one")
    play_two(one)
    assert sum(record.status == "completed" for record in one.records.values()) == 16
    if name in REFUSED:
        with pytest.raises(SpecError, match=REFUSED[name]):
            open_orchestrator(write_sweep(text), run="two")
        return
    two = open_orchestrator(write_sweep(text), run="two")
    play_two(two)
    records = read_ledger(tmp_path / "two" / "ledger.jsonl").records
    completed = [trial for trial in two.study.get_trials() if trial.state == TrialState.COMPLETE]
    by_params = {tuple(sorted(record.params.items())): record for record in records}
    assert len(completed) == 16
    for trial in completed:
        record = by_params[tuple(sorted(trial.params.items()))]
        assert trial.values == [record.metrics["top1"], record.gmacs]


@pytest.mark.default_run("brute_force", "cma_es", "nsgaii", "nsgaiii", "qmc", "random", "tpe")
@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_sampler_resumes_after_an_interruption(write_sweep, open_orchestrator, name):
    """Interrupted after 3 and after 7 more trials (CMA-ES needs 6 for a generation), the proposals are the same."""
    text = named(SEARCH, name).replace("num_trials: 30", "num_trials: 14").replace(REQUIRE, "")
    whole = [a.trial_id for a in play(open_orchestrator(write_sweep(text), run="whole"))]
    parts = [
        a.trial_id
        for stop in (3, 7, None)
        for a in play(open_orchestrator(write_sweep(text), run="parts"), stop_after=stop)
    ]
    assert parts == whole
    assert len(whole) == 14


@pytest.mark.thorough
def test_pruning_with_two_objectives_uses_the_metric(write_sweep, open_orchestrator):
    """Optuna itself has no pruning with several objectives; a pruned trial has no values there."""
    text = TWO.replace("epochs: 1", "epochs: 3") + "    prune: {pruner: threshold, lower: 55.0}\n"
    orchestrator = open_orchestrator(write_sweep(text))
    while (assignment := orchestrator.ask()) is not None:
        top1 = two_sided(assignment)
        stopped = orchestrator.report(assignment.trial_id, {"epoch": 1, "train_loss": 1.0, "top1": top1})
        assert stopped == (top1 < 55.0)
        orchestrator.finish(assignment.trial_id, None if stopped else Outcome("completed", {"top1": top1}))
    states = [trial.state for trial in orchestrator.study.get_trials()]
    assert {TrialState.PRUNED, TrialState.COMPLETE} == set(states)
    assert all(trial.values is None for trial in orchestrator.study.get_trials() if trial.state == TrialState.PRUNED)


WARM = SEARCH.replace("num_trials: 30, seed: 7", 'num_trials: 2, seed: 7, warm_start: ["{run}"]').replace(REQUIRE, "")


def test_warm_start_adds_an_earlier_run_to_the_study(write_sweep, open_orchestrator, tmp_path, capsys):
    """Only variants that fit this search are added, once, even if the earlier run is deleted afterwards."""
    earlier = open_orchestrator(write_sweep(SEARCH.replace("max: 12", "max: 4")), run="earlier")
    play(earlier)
    write_plan(tmp_path / "earlier", earlier.plan.as_run_plan())
    records = read_ledger(tmp_path / "earlier" / "ledger.jsonl").records
    done = [record for record in records if record.status == "completed"]
    within = [record for record in done if record.spec["arch"]["depth"] <= 2]
    assert 0 < len(within) < len(done)
    run = tmp_path / "earlier"
    path = write_sweep(WARM.replace("max: 12", "max: 2").replace("{run}", str(run)))
    orchestrator = open_orchestrator(path, run="warm")
    known = [trial for trial in orchestrator.study.get_trials() if trial.state == TrialState.COMPLETE]
    found = {(trial.params["train.lr"], trial.value) for trial in known}
    assert found == {(record.spec["train"]["lr"], record.metrics["top1"]) for record in within}
    assert capsys.readouterr().err == (
        f"archsweep: the search starts from {len(within)} variants of {run}; "
        f"{len(done) - len(within)} others do not fit it\n"
    )
    assert len(play(orchestrator)) == 2
    (run / "ledger.jsonl").unlink()
    again = open_orchestrator(path, run="warm")
    assert len(again.study.get_trials()) == len(within) + 2
    assert again.num_remaining == 0


def test_a_warm_start_run_without_usable_variants_is_refused(write_sweep, open_orchestrator, tmp_path):
    earlier = open_orchestrator(write_sweep(SEARCH.replace("num_trials: 30", "num_trials: 3")), run="earlier")
    play(earlier)
    write_plan(tmp_path / "earlier", earlier.plan.as_run_plan())
    text = WARM.replace("{run}", str(tmp_path / "earlier")).replace("epochs: 1", "epochs: 2")
    with pytest.raises(SpecError) as caught:
        open_orchestrator(write_sweep(text), run="warm")
    assert str(caught.value) == (
        f"{tmp_path / 'earlier'}: search.warm_start: none of its 3 completed variants fits this search\n"
        "  a usable one differs from `baseline` in nothing but `space` and has every objective"
    )


def test_untrusted_suggestions_run_no_code(write_sweep, open_orchestrator, tmp_path):
    """CMA-ES stores its optimiser as a pickle in the trials, and Optuna unpickles it unchecked."""

    class Malice:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    text = (
        SEARCH.replace("tpe", "cma_es").replace(", n_startup_trials: 5", "").replace("num_trials: 30", "num_trials: 9")
    )
    text = text.replace(REQUIRE, "")
    play(open_orchestrator(write_sweep(text)), stop_after=8)
    path = tmp_path / "run" / "suggestions.jsonl"
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert any("cma:optimizer:0" in entry["attrs"] for entry in entries), "our own optimiser is kept"
    for entry in entries:
        entry["attrs"]["cma:optimizer:0"] = pickle.dumps(Malice()).hex()
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    with pytest.raises(SpecError, match="holds more than an optimizer"):
        open_orchestrator(write_sweep(text))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("line", ["[]", "{", '{"params": 3}', '{"params": {}, "warm_start": "x"}', "null"])
def test_damaged_suggestions_are_named(write_sweep, open_orchestrator, tmp_path, line):
    path = write_sweep(DISCRETE)
    play(open_orchestrator(path), stop_after=2)
    file = tmp_path / "run" / "suggestions.jsonl"
    file.write_text(f"{line}\n" + file.read_text())
    with pytest.raises(SpecError) as caught:
        open_orchestrator(path)
    assert f"{file}:1: not a suggestion: " in str(caught.value)


def test_the_plan_of_a_search_states_objectives_and_size(write_sweep, archsweep, tmp_path):
    text = (
        TWO.replace("objectives: [top1, gmacs]", "objectives: [top1, gmacs], warm_start: [runs/a]") + "    seeds: 3\n"
    )
    ended = archsweep("plan", write_sweep(text), cwd=tmp_path)
    assert ended.stdout.splitlines()[:2] == [
        "searched: a tpe search for the front of top1, gmacs, 16 suggestions x 3 seeds = 48 trials",
        "It starts from what runs/a found.",
    ]
