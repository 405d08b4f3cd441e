"""What may happen to a cluster in the middle of a run: no trial is lost, none counts twice, no digit changes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from results import Run
from runners.planning.plan import make_plan
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
    resources: {cpus: 2}
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
        deadline = time.monotonic() + 60
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
        return self._future.result(timeout=120), Run.open(self._run_dir)


@pytest.fixture
def start(write_sweep, tmp_path, ray_cluster):
    """Starts a sweep in a thread: nodes can be added in the main thread only."""
    with ThreadPoolExecutor(1) as pool:

        def start_(text=SWEEP, name="run"):
            plan = make_plan(load_sweep(write_sweep(text)))
            return Background(pool.submit(run_sweep, plan, tmp_path / name), tmp_path / name)

        yield start_


def parent_of(pid):
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return 0


def is_ours(pid):
    """Whether this process is an ancestor: other sweeps may be running on the machine."""
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = parent_of(pid)
    return False


def trial_processes():
    """Forked trials of this process: children of a forkserver carry its command line, and so does their parent."""

    def command(pid):
        with contextlib.suppress(OSError):
            return b"multiprocessing.forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()
        return False

    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and command(entry.name):
            pid = int(entry.name)
            if command(parent_of(pid)) and is_ours(pid):
                yield pid


@pytest.fixture
def while_training():
    """Sends a signal to the first trial that a block of the test starts."""

    @contextlib.contextmanager
    def while_(number):
        before = set(trial_processes())
        hit = threading.Event()

        def send():
            deadline = time.monotonic() + 60
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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, ray_cluster):
    """What the sweep gives when nothing happens."""
    directory = tmp_path_factory.mktemp("undisturbed")
    path = directory / "sweep.yaml"
    path.write_text(SWEEP)
    run_sweep(make_plan(load_sweep(path)), directory / "run", engine="in-process")
    return results_of(Run.open(directory / "run"))


def test_trials_of_a_lost_node_run_again_elsewhere(start, add_node, ray_nodes, undisturbed):
    node = add_node(num_cpus=2)
    sweep = start()
    sweep.wait_for(lambda run: len([epoch for epoch in epochs_of(run) if epoch > 1]) == 2)  # one on each node
    ray_nodes.remove_node(node, allow_graceful=False)
    result, run = sweep.result()
    assert dict(result.counts) == {"completed": 4}
    assert len(run.records) == 4
    assert results_of(run) == undisturbed


def test_a_node_that_joins_is_put_to_use(start, add_node):
    sweep = start(SWEEP.replace("epochs: 80", "epochs: 250").replace("seeds: 2", "seeds: 1"))
    sweep.wait_for(lambda run: max(epochs_of(run)) >= 1)
    add_node(num_cpus=2)
    sweep.wait_for(lambda run: len(run.unfinished) == 2)  # the first node has room for one
    result, _ = sweep.result()
    assert dict(result.counts) == {"completed": 2}


def test_a_node_that_fails_everything_is_set_aside(start, add_node, tmp_path):
    """Its installation is broken: scikit-learn, which brings the digits, cannot be imported there."""
    broken = tmp_path / "broken" / "sklearn"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('this installation is broken')")
    add_node(num_cpus=2, env_vars={"PYTHONPATH": f"{broken.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"})
    sweep = start(SWEEP.replace("seeds: 2", "seeds: 4").replace("epochs: 80", "epochs: 20"))
    result, run = sweep.result()
    assert dict(result.counts) == {"completed": 8}
    failed = [record for record in run.records if record.status == "failed"]
    assert {record.failure.type for record in failed} == {"ImportError"}
    assert 3 <= len(failed) <= 4


@needs_proc
def test_a_trial_whose_worker_is_killed_runs_again(start, undisturbed):
    sweep = start()
    sweep.wait_for(lambda run: max(epochs_of(run)) >= 1)
    (trial,) = trial_processes()
    os.kill(parent_of(parent_of(trial)), signal.SIGKILL)  # trial, its forkserver, the worker
    result, run = sweep.result()
    assert dict(result.counts) == {"completed": 4}
    assert len(run.records) == 4
    assert results_of(run) == undisturbed


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


@needs_proc
def test_trial_that_hangs_is_ended_and_its_worker_goes_on(start, while_training):
    """A stopped process answers nothing, not even a request to end."""
    with while_training(signal.SIGSTOP):
        # The other trial, which does not hang, must end in time on a machine with much else to do, too.
        text = LONG.replace("epochs: 60", "epochs: 12") + "    resources: {time_limit: 8s, cpus: 2}\n"
        result, opened = start(text).result()
    assert dict(result.counts) == {"failed": 1, "completed": 1}
    (failed,) = [record for record in opened.records if record.status == "failed"]
    assert failed.failure.type == "TimeLimit"
    assert set(trial_processes()) == set()
