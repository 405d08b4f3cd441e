"""What may happen to a cluster in the middle of a run: no trial is lost, none counts twice, no digit changes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import pytest

from results import Run
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import load_sweep

SWEEP = """
    name: faults
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      task: {name: classification, dataset: builtin/digits}
      train: {epochs: 80, batch_size: 256, lr: 0.003}
    space:
      arch.attention: [softmax, reattention]
    design: one_factor
    seeds: 2
    metric: top1
    # The (pretended) GPU makes room for one trial a node. Two threads a trial would do so, too, but would wait for one
    # another by spinning on cores that others need.
    resources: {gpus: 1}
"""

LONG = """
    name: long
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      train: {epochs: 60, batch_size: 256}
    space: {}
    design: factorial
    seeds: 2
    metric: top1
"""

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")


class Background:
    """A sweep that runs beside the test."""

    def __init__(self, future, run_dir):
        self._future = future
        self._run_dir = run_dir

    def wait_for(self, what):
        """Waits until `what(run)` is true."""
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            if self._future.done():
                self._future.result()
                raise AssertionError("the sweep ended before that")
            with contextlib.suppress(Exception):  # it has not begun
                if found := what(Run.open(self._run_dir)):
                    return found
            time.sleep(0.05)
        raise AssertionError("that never happened")

    def result(self):
        return self._future.result(timeout=400), Run.open(self._run_dir)


@pytest.fixture
def start(write_sweep, tmp_path, ray_cluster):
    """Starts a sweep in a thread: nodes can be added in the main thread only."""
    with ThreadPoolExecutor(1) as pool:

        def start_(text=SWEEP, name="run"):
            plan = make_plan(load_sweep(write_sweep(text)))
            return Background(pool.submit(run_sweep, plan, tmp_path / name), tmp_path / name)

        yield start_


@pytest.fixture
def trial_processes(processes_below):
    """Finds the forked trials of this process."""
    return lambda: processes_below(os.getpid(), "^asw-trial\n")


@pytest.fixture
def while_training(trial_processes):
    """Sends a signal to the first trial that a block of the test starts."""

    @contextlib.contextmanager
    def while_(number):
        before = set(trial_processes())
        hit = threading.Event()

        def send():
            deadline = time.monotonic() + 300
            seen: set[int] = set()
            while not hit.is_set() and time.monotonic() < deadline:
                now = set(trial_processes()) - before
                if old := now & seen:  # one that was forked this instant is no trial yet
                    os.kill(min(old), number)
                    hit.set()
                seen = now
                time.sleep(0.1)

        sender = threading.Thread(target=send)
        sender.start()
        yield
        sender.join()
        assert hit.is_set(), "no trial was seen"

    return while_


def epochs_of(run):
    """Epochs done by trials that have not ended."""
    return [trial.epoch for trial in run.unfinished]


def results_of(run):
    """Status and metrics of every trial, which must not depend on what happened to the cluster."""
    return {key: (record.status, record.metrics, record.curve) for key, record in run.deciding.items()}


def undisturbed(text, folder):
    """What the sweep gives when nothing happens."""
    path = folder / "undisturbed.yaml"
    path.write_text(text)
    with patch.dict(os.environ, ARCHSWEEP_PRETEND_GPUS="1"):
        run_sweep(make_plan(load_sweep(path)), folder / "undisturbed", engine="in-process")
    return results_of(Run.open(folder / "undisturbed"))


@pytest.mark.slow
def test_a_node_that_joins_is_put_to_use_and_its_trial_runs_again_when_it_is_lost(start, add_node, ray_nodes, tmp_path):
    # The baseline trains until the other node has joined, started a worker and is gone again.
    lost = "{arch.attention: reattention, train.epochs: 100}"
    text = SWEEP.replace("epochs: 80", "epochs: 1000").replace("seeds: 2", "seeds: 1")
    text = text.replace("space:\n      arch.attention: [softmax, reattention]", "space: {}")
    sweep = start(text.replace("design: one_factor", f"design: {{name: list, rows: [{lost}]}}"))
    sweep.wait_for(lambda run: max(epochs_of(run)) >= 1)
    node = add_node(num_cpus=2, num_gpus=1)
    sweep.wait_for(lambda run: len(run.unfinished) == 2)  # the first node has room for one
    sweep.wait_for(lambda run: any(trial.epoch for trial in run.unfinished if trial.variant != "baseline"))
    ray_nodes.remove_node(node, allow_graceful=False)
    result, run = sweep.result()
    assert dict(result.counts) == {"completed": 2}
    assert len(run.records) == 2
    placed = [event.variant for event in run.progress if event.event == "place"]
    assert len(placed) == 3
    assert placed[1] == placed[2] != placed[0] == "baseline"
    alone = SWEEP.replace("class_token", "attention: reattention, class_token").replace("epochs: 80", "epochs: 100")
    alone = alone.replace("\n      arch.attention: [softmax, reattention]", " {}").replace("one_factor", "factorial")
    ((trial, expected),) = undisturbed(alone.replace("seeds: 2", "seeds: 1"), tmp_path).items()
    assert results_of(run)[trial] == expected


# Slow, because a node joins and fails several workers. Of the default run, test_placement.py holds the rule.
@pytest.mark.slow
def test_a_node_that_fails_everything_is_set_aside(start, add_node, tmp_path):
    """Its installation is broken: scikit-learn, which brings the digits, cannot be imported there."""
    broken = tmp_path / "broken" / "sklearn"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('this installation is broken')")
    path = f"{broken.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    add_node(num_cpus=2, num_gpus=1, env_vars={"PYTHONPATH": path})
    sweep = start(SWEEP.replace("seeds: 2", "seeds: 4"))
    result, run = sweep.result()
    assert dict(result.counts) == {"completed": 8}
    failed = [record for record in run.records if record.status == "failed"]
    assert {record.failure.type for record in failed} == {"ImportError"}
    assert 3 <= len(failed) <= 4


# Slow, because two workers of Ray start, one after the other. Of the default run, test_interruption.py holds that a
# trial whose worker is killed goes on, and the test of the lost node that one without a checkpoint begins again.
@pytest.mark.slow
@needs_proc
def test_a_trial_whose_worker_is_killed_runs_again(start, tmp_path, busy_worker):
    sweep = start()
    sweep.wait_for(lambda run: max(epochs_of(run)) >= 1)
    os.kill(busy_worker(), signal.SIGKILL)
    result, run = sweep.result()
    assert dict(result.counts) == {"completed": 4}
    assert len(run.records) == 4
    assert results_of(run) == undisturbed(SWEEP, tmp_path)


# Slow, because a worker of Ray starts twice. Of the default run, test_orchestrator.py holds that such a trial is tried
# once more, and alone.
@pytest.mark.slow
@needs_proc
def test_trial_that_memory_ran_out_for_runs_once_more_alone(start, while_training):
    """What the kernel's memory killer does: a record says so, and the second attempt does not share its node."""
    with while_training(signal.SIGKILL):
        result, opened = start(LONG).result()
    assert dict(result.counts) == {"completed": 2}
    (failed,) = [record for record in opened.records if record.status == "failed"]
    assert failed.failure.type == "Killed"
    assert failed.failure.message == "the trial's process was killed, most likely because memory ran out"
    second = opened.deciding[failed.trial_id]
    assert (second.status, second.attempt) == ("completed", 2)
    assert opened.records[-1] == second  # after everything else


@pytest.mark.slow
@needs_proc
def test_trial_that_hangs_is_ended_and_its_worker_goes_on(start, trial_processes):
    """A stopped process answers nothing, not even a request to end."""
    # One trial at a time. The limit begins when its worker is warm: the baseline has run on it.
    limits = '{time_limit: 10m, gpus: 1, per_variant: [{where: "train.epochs > 4", time_limit: 12s}]}'
    text = LONG.replace("epochs: 60", "epochs: 2").replace("seeds: 2", "seeds: 1").replace("factorial", "one_factor")
    sweep = start(text.replace("space: {}", "space: {train.epochs: [2, 100000, 4]}") + f"    resources: {limits}\n")
    sweep.wait_for(lambda run: any(trial.variant == "epochs=100000" and trial.epoch for trial in run.unfinished))
    (trial,) = trial_processes()
    os.kill(trial, signal.SIGSTOP)
    result, opened = sweep.result()
    assert dict(result.counts) == {"failed": 1, "completed": 2}
    (failed,) = [record for record in opened.records if record.status == "failed"]
    assert (failed.variant, failed.failure.type) == ("epochs=100000", "TimeLimit")
    assert set(trial_processes()) == set()
