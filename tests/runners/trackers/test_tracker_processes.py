"""The processes of trackers: killed, hanging or slow, they cost the driver nothing but a line."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from results.store.run_layout import RunDir
from runners.trackers.tracking import Tracking
from runners.trials.outcome import Outcome

SWEEP = """
name: tracked
baseline:
  arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
  train: {epochs: 2, batch_size: 512}
design: one_factor
seeds: 1
track: TRACK
"""
LATER = "(the sweep goes on, and the next start sends it what is missing)"
POINTS = [{"epoch": epoch, "train_loss": 2.0, "loss": 2.0, "top1": 10.0 * epoch} for epoch in (1, 2)]


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def watched(write_sweep, open_orchestrator, tmp_path):
    """A orchestrator that is driven by hand, with its trackers and what these said."""

    def watched_(track):
        said, observers = [], []
        orchestrator = open_orchestrator(write_sweep(SWEEP, TRACK=track), run="tracked", observers=observers)
        tracking = Tracking(
            orchestrator.plan.sweep,
            RunDir(tmp_path / "tracked"),
            summaries=list(orchestrator.records.values()),
            say=said.append,
        )
        observers.append(tracking)
        return orchestrator, tracking, said

    return watched_


def tracker_processes():
    """Children of this process that are trackers."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"runners.trackers.process" in (path / "cmdline").read_bytes():
                yield int(path.name)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "begun"),
    [("tensorboard", "tracking/tensorboard.log"), pytest.param("mlflow", "mlflow/*.new", marks=pytest.mark.slow)],
)
def test_a_killed_tracker_is_left_out_and_caught_up_on_at_the_next_start(watched, tmp_path, readers, name, begun):
    """MLflow's is killed while it makes its database, which MLflow itself could not open any more."""
    orchestrator, tracking, said = watched(name)
    key = orchestrator.ask().trial_id
    (process,) = tracker_processes()
    deadline = time.monotonic() + 300
    while not any((tmp_path / "tracked").glob(begun)):
        assert time.monotonic() < deadline, said
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    for point in POINTS:
        assert orchestrator.report(key, point) is False
    orchestrator.finish(key, Outcome("completed", metrics={"top1": 20.0}))
    tracking.close(patience=300)
    log = tmp_path / "tracked" / "tracking" / f"{name}.log"
    assert said == [f"warning: {name} is left out: its process ended with -9, and {log} may say why {LATER}"]

    _, tracking, said = watched(name)
    tracking.close(patience=300)
    assert [line for line in said if not line.startswith("waiting")] == []
    (seen,) = readers[name](tmp_path / "tracked").values()
    assert (seen.history["top1"], seen.final["top1"], seen.status) == ([(1, 10.0), (2, 20.0)], 20.0, "completed")


def test_a_tracker_that_hangs_is_not_waited_for(watched, monkeypatch):
    """The server accepts the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        orchestrator, tracking, said = watched("mlflow")
        key = orchestrator.ask().trial_id
        orchestrator.report(key, POINTS[0])
        tracking.close(patience=0.25)
    assert said[-1:] == [f"warning: mlflow is left out: it was not done 0.25 s after the sweep {LATER}"]
    assert list(tracker_processes()) == []


def test_a_tracker_that_does_not_keep_up_is_left_out_before_it_fills_the_memory(watched, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        orchestrator, tracking, said = watched("mlflow")
        assignment = orchestrator.ask()
        for _ in range(110_000):
            tracking.on_epoch_end(assignment, POINTS[0])
        tracking.close(patience=300)
    assert said[-1:] == [f"warning: mlflow is left out: it does not keep up {LATER}"]
    assert list(tracker_processes()) == []
