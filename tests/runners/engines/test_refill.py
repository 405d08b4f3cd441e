"""Groups that waiting trials join, on both engines: the records are those of groups that none has joined."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from results import Run
from runners.engines.in_process import _alarm
from runners.run_sweep import run_sweep
from runners.trials.outcome import TimeLimit

from .conftest import what

# Of 20 trials the four of the baseline complete, and all others are pruned after their first epoch.
SWEEP = """
    name: refill
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      task: {name: classification, dataset: {name: builtin/shapes, img_size: 16, num_train: 64, num_test: 32}}
      train: {epochs: 3, batch_size: 16, lr: 0.003, ema_decay: 0.9}
    space: {train.lr: [0.001, 0.002, 0.004, 0.005]}
    design: one_factor
    seeds: 4
    metric: top1
    keep_predictions: true
    checkpoints: {min_seconds: 0}
    resources: {max_concurrent: 1}
    prune: {pruner: threshold, lower: 101, n_warmup_steps: 0}
"""
COUNTS = {"completed": 4, "pruned": 16}


def joined(run_dir):
    """Epochs of every trial that was started while another one was in training, and had trained an epoch."""
    events = [json.loads(line) for line in (run_dir / "progress.jsonl").read_text().splitlines()]
    training, found = set(), {}
    for event in events:
        key = event["trial_id"]
        if event["event"] == "start" and training:
            found[key] = 0
        elif event["event"] == "epoch":
            training.add(key)
            found |= {key: event["metrics"]["epoch"]} if key in found else {}
        elif event["event"] == "end":
            training.discard(key)
    return found


def when_one_has_joined(run_dir, action, *, epochs=2):
    """Thread that acts once a trial that has joined has trained so many epochs."""

    def wait():
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError):
                if max(joined(run_dir).values(), default=0) >= epochs:
                    return action()
            time.sleep(0.02)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.fixture
def not_refilled(planned):
    """Runs the sweep in sessions of eight trials, whose group no other may join."""

    def run(*overrides):
        plan, run_dir = planned("not-refilled", *overrides, text=SWEEP)
        while run_sweep(plan, run_dir, engine="in-process", limit=8).remaining:
            pass
        assert joined(run_dir) == {}
        return what(run_dir)

    return run


@pytest.mark.parametrize("engine", ["in-process", pytest.param("ray", marks=pytest.mark.ray)])
def test_records_are_those_of_groups_that_none_has_joined(planned, not_refilled, request, engine):
    if engine == "ray":
        request.getfixturevalue("ray_cluster")
    expected = not_refilled()
    plan, run_dir = planned("run", text=SWEEP)
    outcome = run_sweep(plan, run_dir, engine=engine)
    assert (outcome.counts, outcome.remaining) == (COUNTS, 0)
    assert what(run_dir) == expected
    assert len(joined(run_dir)) == 12  # all that did not begin the only group
    assert list(run_dir.glob(".group-*")) == list(run_dir.glob("trials/*/checkpoint.pt")) == []
    places = [line for line in (run_dir / "progress.jsonl").read_text().splitlines() if '"place"' in line]
    assert len(places) == 20


def test_a_limit_counts_trials_that_join(planned):
    plan, run_dir = planned("run", text=SWEEP)
    assert run_sweep(plan, run_dir, engine="in-process", limit=11).started == 11
    assert (len(what(run_dir)), len(joined(run_dir))) == (11, 3)


def test_the_time_limit_is_extended_by_that_of_trials_that_join():
    reached = []

    def overlong():
        with _alarm(0.2) as extend:
            extend(0.4)
            time.sleep(0.3)  # longer than the first limit
            reached.append("the extended limit")
            extend(None)
            time.sleep(60)

    began = time.monotonic()
    with pytest.raises(TimeLimit):
        overlong()
    assert reached == ["the extended limit"]
    assert time.monotonic() - began < 30


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["in-process", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_group_may_take_the_time_of_all_that_have_joined(planned, request, engine):
    """A trial may take a twelfth of what all take: too little for the eight that begin the group."""
    if engine == "ray":
        request.getfixturevalue("ray_cluster")
    longer = ["train.epochs=30", "seeds=8"]
    plan, run_dir = planned("unlimited", *longer, text=SWEEP)
    run_sweep(plan, run_dir, engine=engine)
    events = [json.loads(line) for line in (run_dir / "progress.jsonl").read_text().splitlines()]
    seconds = events[-1]["t"] - next(event["t"] for event in events if event["event"] == "place")
    plan, limited = planned("limited", *longer, f"resources.time_limit={seconds / 12:.3f}s", text=SWEEP)
    outcome = run_sweep(plan, limited, engine=engine)
    assert outcome.counts == {"completed": 8, "pruned": 32}


# Slow, because so many epochs are trained three times. Of the default run, test_interruption.py holds that a stop on
# either engine loses nothing, and training/stacked/test_refill.py that a group that was refilled is preempted as a
# whole.
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["in-process", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_stop_saves_all_and_the_same_run_continues_them(planned, not_refilled, request, engine):
    if engine == "ray":
        request.getfixturevalue("ray_cluster")
    expected = not_refilled("train.epochs=20")
    plan, run_dir = planned("run", "train.epochs=20", text=SWEEP)
    main = threading.main_thread().ident
    thread = when_one_has_joined(run_dir, lambda: signal.pthread_kill(main, signal.SIGTERM))
    assert run_sweep(plan, run_dir, engine=engine).interrupted
    thread.join()
    saved = {each.trial_id for each in Run.open(run_dir).records if each.status == "preempted"}
    assert len(saved) > 1
    assert saved & joined(run_dir).keys()
    assert dict(run_sweep(plan, run_dir, engine="in-process").counts) == COUNTS
    found = {each.trial_id: each for each in Run.open(run_dir).deciding.values()}
    assert all(found[key].resumed_from_epoch is not None for key in saved)
    assert what(run_dir) == expected


@pytest.mark.slow
def test_a_killed_run_continues_those_that_had_joined(planned, not_refilled, tmp_path):
    expected = not_refilled("train.epochs=20")
    _, run_dir = planned("killed", "train.epochs=20", text=SWEEP)
    words = ["run", str(tmp_path / "sweep.yaml"), "--set", "train.epochs=20", "--engine", "in-process", "--no-cache"]
    command = [sys.executable, "-m", "runners.cli", *words, "--out", str(run_dir)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    when_one_has_joined(run_dir, process.kill, epochs=3).join()
    assert process.wait() == -signal.SIGKILL
    before = joined(run_dir)
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    resumed = {each.trial_id for each in Run.open(run_dir).records if each.resumed_from_epoch}
    assert resumed & before.keys()
    assert what(run_dir) == expected


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the worker in /proc")
def test_a_group_that_loses_its_worker_is_started_again_with_those_that_had_joined(
    planned, not_refilled, ray_cluster, busy_worker
):
    expected = not_refilled("train.epochs=40")
    plan, run_dir = planned("run", "train.epochs=40", text=SWEEP)
    thread = when_one_has_joined(run_dir, lambda: os.kill(busy_worker(), signal.SIGKILL))
    outcome = run_sweep(plan, run_dir, engine="ray")
    thread.join()
    assert outcome.counts == COUNTS
    assert what(run_dir) == expected
    resumed = {each.trial_id for each in Run.open(run_dir).records if each.resumed_from_epoch}
    assert resumed & joined(run_dir).keys()
