"""Groups of trials on both engines: the same records, the same decisions, and a run that is killed continues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from results import Run
from runners.cache.origin import Origins
from runners.cache.trial_cache import TrialCache
from runners.engines.ray.group_answers import Answer, GroupAnswers, answer_to, latest_answer
from runners.run_sweep import run_sweep
from runners.training.trial import run_trial
from search_space import trial_id

from .conftest import what

SWEEP = """
    name: groups
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      task: {name: classification, dataset: {name: builtin/shapes, img_size: 16, num_train: 64, num_test: 32}}
      train: {epochs: 3, batch_size: 16, lr: 0.003}
    space: {arch.attention: [softmax, groupmix]}
    design: one_factor
    seeds: 3
    metric: top1
    keep_predictions: true
    checkpoints: {min_seconds: 0}
"""


@pytest.fixture
def in_process(planned):
    def in_process_(name="run", *overrides, **options):
        plan, run_dir = planned(name, *overrides, text=SWEEP)
        return run_sweep(plan, run_dir, engine="in-process", **options), run_dir

    return in_process_


def test_records_say_that_trials_trained_fused(in_process):
    outcome, run_dir = in_process()
    assert outcome.counts == {"completed": 6}
    assert {each["numerics"] for each in what(run_dir).values()} == {"fused"}
    assert {each.numerics for each in Run.open(run_dir).plan.variants} == {"fused"}
    assert "All trials trained fused" in (run_dir / "table.md").read_text()


# Slow, because workers of Ray start. Of the default run, test_refill.py holds that groups on Ray make the records of
# groups in process, of which some trials are pruned.
@pytest.mark.slow
@pytest.mark.ray
def test_both_engines_make_the_same_records(in_process, planned, ray_cluster):
    """Ray has two workers, and so other groups."""
    _, expected = in_process()
    plan, run_dir = planned("ray", text=SWEEP)
    run_sweep(plan, run_dir, engine="ray")
    assert what(run_dir) == what(expected)
    assert list(run_dir.glob(".group-*")) == []


@pytest.mark.slow
@pytest.mark.ray
def test_both_engines_prune_the_same_members(planned, ray_cluster):
    """A threshold that the baseline never has to pass; of the other every member stops after its first epoch."""
    text = SWEEP + "    prune: {pruner: threshold, lower: 99.9, n_warmup_steps: 0}\n"
    found = []
    for engine in ("in-process", "ray"):
        plan, run_dir = planned(engine, text=text)
        run_sweep(plan, run_dir, engine=engine)
        found.append(what(run_dir))
    assert found[0] == found[1]
    ends = {(each["variant"], each["status"], each["epochs"]) for each in found[0].values()}
    assert ends == {("baseline", "completed", 3), ("attention=groupmix", "pruned", 1)}


def test_numerics_single_gives_what_a_trial_by_itself_gives(planned, tmp_path):
    plan, run_dir = planned("run", "baseline.train.numerics=single", text=SWEEP)
    run_sweep(plan, run_dir, engine="in-process")
    found = what(run_dir)
    for variant in plan.variants:
        spec = variant.setting.with_seed(1)
        alone = run_trial(spec, report=lambda point: False, resources=plan.sweep.resources)
        record = found[trial_id(spec)]
        assert (record["numerics"], record["metrics"], record["curve"]) == ("single", alone.metrics, alone.curve)


def test_a_run_of_one_form_takes_no_records_of_the_other_from_the_cache(planned, tmp_path):
    def run(name, numerics):
        plan, run_dir = planned(name, text=SWEEP, numerics=numerics)
        cache = TrialCache(tmp_path / "cache", "cpu", Origins(plan.sweep.resources))
        return run_sweep(plan, run_dir, engine="in-process", cache=cache).started, run_dir

    assert run("fused", "fused")[0] == 6
    started, single = run("single", "single")
    assert started == 6
    assert {each["numerics"] for each in what(single).values()} == {"single"}
    for numerics in ("fused", "single"):
        started, again = run(f"again-{numerics}", numerics)
        assert started == 0
        assert {each["numerics"] for each in what(again).values()} == {numerics}


@pytest.mark.slow
def test_a_killed_group_continues_and_ends_as_if_it_had_not_been(in_process, planned, tmp_path):
    """The driver is killed when the first member's second checkpoint is there."""
    _, expected = in_process("whole", "train.epochs=40")
    _, run_dir = planned("killed", "train.epochs=40", text=SWEEP)
    words = ["run", str(tmp_path / "sweep.yaml"), "--set", "train.epochs=40", "--engine", "in-process", "--no-cache"]
    command = [sys.executable, "-m", "runners.cli", *words, "--out", str(run_dir)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while not list(run_dir.glob("trials/*/checkpoint.pt")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(what(run_dir)) < 6
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    records = [json.loads(line) for line in (run_dir / "ledger.jsonl").read_text().splitlines()]
    assert any(record.get("resumed_from_epoch") for record in records)
    assert what(run_dir) == what(expected)


def test_a_worker_waits_for_the_answer_to_its_own_report(tmp_path):
    path = tmp_path / ".group-x"
    path.write_text("left by a driver that was killed")
    answers = GroupAnswers(path)
    assert latest_answer(path) == Answer()
    answers.answer("r-0", ["b"])
    assert answer_to(path, "r-0").stop == ["b"]
    answers.note_end("b")
    assert latest_answer(path).ended == ["b"]
    answers.answer("r-1", [])
    assert answer_to(path, "r-1") == Answer(ended=["b"])
    answers.close()
    assert not path.exists()


def test_a_worker_that_starts_a_group_again_finds_all_that_have_joined(tmp_path):
    path = tmp_path / ".group-x"
    answers = GroupAnswers(path)
    answers.answer("r-0", [], {"c": {"seed": 3}})
    answers.answer("r-1", [], {"d": {"seed": 4}})
    assert answer_to(path, "r-1").joined == {"c": {"seed": 3}, "d": {"seed": 4}}
    answers.note_end("c")
    assert latest_answer(path) == Answer(ended=["c"], joined={"d": {"seed": 4}})
