"""What is said of a trial whose worker failed or was lost: the error where there is one, and else what may be."""

from __future__ import annotations

import os
import signal

import pytest
import ray
from ray import tune

from results import read_ledger
from results.store.run_layout import RunDir
from runners.engines.ray.engine import run_on_ray
from runners.engines.ray.worker import TrialWorker

ONE = """
    name: one
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      train: {epochs: 1, batch_size: 512}
    space: {}
    design: factorial
    seeds: 1
    metric: top1
    resources: {max_failures: 1}
"""


def raising_worker():
    """A class made in a function travels to the worker by value."""

    class Raising(tune.Trainable):
        def setup(self, config):
            raise OSError("the disk of this node is\nbroken")

    return Raising


LACK = "1 worker(s) were killed due to the node running low on memory."


def worker_without_memory():
    """What Ray raises where its memory monitor has killed a worker."""

    class Starved(tune.Trainable):
        def setup(self, config):
            raise ray.exceptions.OutOfMemoryError(LACK)

    return Starved


def worker_that_cannot_be_imported():
    driver = os.getpid()

    def import_elsewhere(name):
        if os.getpid() != driver:  # which unpickles the class, too
            __import__(name)
        return Absent()

    class Absent:
        def __reduce__(self):
            return import_elsewhere, ("a_package_that_this_node_lacks",)

    class Importing(TrialWorker):
        needed = Absent()

    return Importing


def killed_worker():
    class Killed(tune.Trainable):
        def step(self):
            os.kill(os.getpid(), signal.SIGKILL)

    return Killed


def records_of(write_sweep, open_orchestrator, tmp_path, ray_cluster, worker, text=ONE):
    orchestrator = open_orchestrator(write_sweep(text))
    run_on_ray(orchestrator, run_dir=RunDir(tmp_path / "run"), address=ray_cluster, worker=worker())
    return read_ledger(tmp_path / "run" / "ledger.jsonl").records


def test_a_worker_that_was_killed_is_said_to_be_lost(write_sweep, open_orchestrator, tmp_path, ray_cluster):
    text = ONE.replace("max_failures: 1", "max_failures: 0")
    (record,) = records_of(write_sweep, open_orchestrator, tmp_path, ray_cluster, killed_worker, text)
    message = "its worker was lost once (node failure or out of memory)"
    assert (record.failure.type, record.failure.message) == ("WorkerDied", message)


# Slow, because two workers of Ray start, one after the other.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("worker", "kind", "message"),
    [
        (raising_worker, "WorkerDied", "its worker failed 2 times: OSError: the disk of this node is"),
        (
            worker_that_cannot_be_imported,
            "WorkerDied",
            "its worker failed 2 times: ModuleNotFoundError: No module named 'a_package_that_this_node_lacks'",
        ),
        (killed_worker, "WorkerDied", "its worker was lost 2 times (node failure or out of memory)"),
        (
            worker_without_memory,
            "OutOfMemory",
            f"its worker failed 2 times: ray.exceptions.OutOfMemoryError: {LACK}",
        ),
    ],
)
def test_a_failed_worker_quotes_its_error(write_sweep, open_orchestrator, tmp_path, ray_cluster, worker, kind, message):
    records = records_of(write_sweep, open_orchestrator, tmp_path, ray_cluster, worker)
    assert len(records) == (2 if kind == "OutOfMemory" else 1)  # once more, alone
    assert {(record.failure.type, record.failure.message) for record in records} == {(kind, message)}
