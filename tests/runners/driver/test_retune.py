"""`retune`: variants are tuned before they are compared, in the same ledger, and a killed run goes on where it was."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from results import LedgerWriter, Run, ablation_table, read_ledger
from runners.driver.orchestrator import Orchestrator
from runners.driver.retune import plan_so_far, stages
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from runners.trials.outcome import Outcome
from search_space import SpecError, load_sweep


def roles(run_dir):
    """(variant, seed, role, learning rate) of every record."""
    records = Run.open(run_dir).records
    return [(record.variant, record.seed, record.role, record.spec["train"]["lr"]) for record in records]


def play(plan, run_dir, top1_of, *, kill_after=None):
    """Plays the engine with made-up results; `kill_after` trials the process is gone, in the middle of the next one."""
    ended = []
    with LedgerWriter(run_dir) as ledger:
        for stage in stages(plan, ledger):
            orchestrator = Orchestrator(stage.plan, ledger, role=stage.role)
            while (assignment := orchestrator.ask()) is not None:
                if len(ended) == kill_after:
                    return ended
                value = top1_of(assignment.spec)
                metrics = {"epoch": 1, "train_loss": 1.0, "val_top1": value}
                orchestrator.report(assignment.trial_id, metrics)
                orchestrator.finish(assignment.trial_id, Outcome("completed", {"top1": value, "val_top1": value}))
                ended.append((stage.role, assignment.variant.name, assignment.spec))
    return ended


def peaked(spec):
    """Softmax is best at a learning rate of 0.01, re-attention at 0.001."""
    optimum = {"softmax": 1e-2, "reattention": 1e-3}[spec.arch.attention.name]
    return 90.0 - 10 * abs(math.log10(spec.train.lr / optimum))


@pytest.mark.thorough
def test_failed_tuning_trials_run_again_when_asked(write_sweep, tmp_path, retuned):
    """Learning rates at which the training diverges: they fail, fail again when asked, and no third time unasked."""
    text = retuned.replace("{min: 1e-4, max: 3e-2, log: true}", "[0.003, 1.0e+30]").replace(
        "num_trials: 5", "num_trials: 2"
    )
    plan = make_plan(load_sweep(write_sweep(text.replace("      n_startup_trials: 3\n", ""))))
    started = [
        run_sweep(plan, tmp_path / "run", engine="in-process", retry=frozenset(retry)).started
        for retry in ((), (), ("failed",), ())
    ]
    failed = [record for record in Run.open(tmp_path / "run").records if record.status == "failed"]
    # two variants with one bad rate each, then the comparison: two variants with two seeds
    assert started == [8, 0, 2, 0]
    assert Counter((record.role, record.attempt) for record in failed) == {("retune", 1): 2, ("retune", 2): 2}


# On Ray it is slow, and nothing that test_engine_contract.py does not show of it.
@pytest.mark.parametrize(
    "engine", ["in-process", pytest.param("ray", marks=[pytest.mark.slow, pytest.mark.xdist_group("ray")])]
)
def test_arms_are_tuned_and_then_compared(engine, write_sweep, tmp_path, request, retuned):
    if engine == "ray":
        request.getfixturevalue("ray_cluster")
    plan = make_plan(
        load_sweep(write_sweep(retuned), overrides=["retune.num_trials=3"])
    )  # one stage: none after start-up
    result = run_sweep(plan, tmp_path / "run", engine=engine)
    assert (dict(result.counts), result.started, result.remaining) == ({"completed": 4}, 10, 0)
    found = roles(tmp_path / "run")
    assert Counter((role, seed) for _, seed, role, _ in found) == {("retune", 100): 6, ("", 0): 2, ("", 1): 2}
    opened = Run.open(tmp_path / "run")
    for name in ("baseline", "attention=reattention"):
        tuning = [record for record in opened.records if record.role and record.variant.startswith(f"{name} [")]
        best = max(tuning, key=lambda record: record.metrics["val_top1"])
        reported = {lr for variant, _, role, lr in found if variant == name and not role}
        assert len(tuning) == 3
        assert reported == {best.spec["train"]["lr"]}
    table = ablation_table(opened.plan, opened.records)
    assert [(row.name, row.num_completed, row.num_planned) for row in table.rows] == [
        ("baseline", 2, 2),
        ("attention=reattention", 2, 2),
    ]


def test_every_arm_gets_its_own_optimum(write_sweep, tmp_path, retuned):
    ended = play(make_plan(load_sweep(write_sweep(retuned))), tmp_path / "run", peaked)
    for name in ("softmax", "reattention"):
        mine = [(role, spec) for role, _, spec in ended if spec.arch.attention.name == name]
        tried = {spec.train.lr: peaked(spec) for role, spec in mine if role == "retune"}
        assert {spec.train.lr for role, spec in mine if not role} == {max(tried, key=tried.get)}


def test_settings_that_were_tried_are_counted_once(write_sweep, tmp_path, retuned):
    """Two values are two settings, however many proposals there are."""
    text = retuned.replace("{min: 1e-4, max: 3e-2, log: true}", "[0.001, 0.01]").replace(
        "num_trials: 5", "num_trials: 12"
    )
    plan = make_plan(load_sweep(write_sweep(text)))
    ended = play(plan, tmp_path / "run", peaked)
    assert Counter((spec.arch.attention.name, role) for role, _, spec in ended) == {
        ("softmax", "retune"): 2, ("reattention", "retune"): 2, ("softmax", ""): 2, ("reattention", ""): 2,
    }  # fmt: skip
    tuned = plan_so_far(plan, read_ledger(tmp_path / "run" / "ledger.jsonl").records).as_run_plan()
    assert [variant.num_tried for variant in tuned.variants] == [2, 2]
    assert tuned.retuned.space == {"train.lr": "0.001 | 0.01"}
    assert [variant.num_tried for variant in plan.as_run_plan().variants] == [None, None]  # before


def test_arms_start_with_equal_candidates_their_own_setting_first(write_sweep, tmp_path, retuned):
    """Three start-up candidates; the first is the learning rate as it is written."""
    ended = play(make_plan(load_sweep(write_sweep(retuned))), tmp_path / "run", peaked)
    tried = {
        name: [spec.train.lr for role, _, spec in ended if role and spec.arch.attention.name == name]
        for name in ("softmax", "reattention")
    }
    assert tried["softmax"][:3] == tried["reattention"][:3]
    assert tried["softmax"][0] == 0.003
    assert tried["softmax"][3:] != tried["reattention"][3:]
    assert ended[0][1] == "baseline [as written]"


@pytest.mark.default_run("0", "7", "11")
@pytest.mark.thorough
@pytest.mark.parametrize("kill_after", [0, 2, 6, 7, 9, 11])
def test_killed_run_goes_on_where_it_was(kill_after, write_sweep, tmp_path, retuned):
    """Killed at any place and started again, the run trains what the undisturbed one trains, each once."""
    plan = make_plan(load_sweep(write_sweep(retuned)))
    whole = play(plan, tmp_path / "whole", peaked)
    first = play(plan, tmp_path / "parts", peaked, kill_after=kill_after)
    rest = play(plan, tmp_path / "parts", peaked)
    assert len(first) == kill_after
    assert sorted(map(str, first + rest)) == sorted(map(str, whole))
    assert play(plan, tmp_path / "parts", peaked) == []


@pytest.mark.thorough
def test_limit_ends_within_the_tuning_and_says_what_is_left(write_sweep, tmp_path, retuned):
    plan = make_plan(load_sweep(write_sweep(retuned)))
    result = run_sweep(plan, tmp_path / "run", engine="in-process", limit=4)
    assert (dict(result.counts), result.started) == ({}, 4)
    assert {role for _, _, role, _ in roles(tmp_path / "run")} == {"retune"}
    result = run_sweep(plan, tmp_path / "run", engine="in-process")
    assert (dict(result.counts), result.started) == ({"completed": 4}, 10)


def test_changes_tell_the_tuned_values_that_differ_from_the_reference(write_sweep, tmp_path, retuned):
    plan = make_plan(load_sweep(write_sweep(retuned)))
    play(plan, tmp_path / "run", peaked)
    with LedgerWriter(tmp_path / "run") as ledger:
        tuned = plan_so_far(plan, ledger.summaries)
    reference, other = tuned.variants
    assert reference.changes == {}
    assert other.changes == {"arch.attention": "reattention", "train.lr": other.setting.train.lr}
    assert reference.setting.train.lr != other.setting.train.lr


def test_arm_whose_trials_all_fail_is_dropped_and_a_failing_reference_refused(write_sweep, tmp_path, retuned):
    from results import Failure

    def fail(plan, run_dir, name):
        with LedgerWriter(run_dir) as ledger:
            for stage in stages(plan, ledger):
                if stage.role == "":
                    return stage.plan
                orchestrator = Orchestrator(stage.plan, ledger, role=stage.role)
                while (assignment := orchestrator.ask()) is not None:
                    is_lost = assignment.spec.arch.attention.name == name
                    outcome = Outcome("completed", {"top1": 1.0, "val_top1": 1.0})
                    orchestrator.finish(assignment.trial_id, Failure(type="X", message="no") if is_lost else outcome)
        raise AssertionError("no comparison came")

    plan = make_plan(load_sweep(write_sweep(retuned)))
    tuned = fail(plan, tmp_path / "one", "reattention")
    assert [entry.reasons for entry in tuned.entries] == [(), ("no tuning trial of it completed",)]
    with pytest.raises(SpecError) as caught:
        fail(plan, tmp_path / "two", "softmax")
    assert caught.value.problems[0].message == "no tuning trial of the reference 'baseline' completed"


def test_tuning_records_of_another_form_of_the_sweep_do_not_count_as_reported(write_sweep, tmp_path, retuned):
    """Seed 100 tuned before; when it is reported later, it is trained again for the table."""
    path = write_sweep(retuned)
    play(make_plan(load_sweep(path)), tmp_path / "run", peaked)
    edited = make_plan(load_sweep(path, overrides=["seeds=[100]", "retune.seeds=[0]"]))
    ended = play(edited, tmp_path / "run", peaked)
    assert Counter((role, spec.seed) for role, _, spec in ended) == {("retune", 0): 10, ("", 100): 2}
