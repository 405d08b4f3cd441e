"""Every tracker, with its real library: its own reader finds what it was given, and its failures harm nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from results import Run
from results.store.run_layout import RunDir
from runners.trackers import LIBRARIES, TRACKERS
from runners.trackers.contract import RunEnd, TrackedRun, TrackedSweep
from search_space import TRACKER_SPECS

# One process, so that the tracked sweep is trained once.
pytestmark = [pytest.mark.xdist_group("trackers"), pytest.mark.thorough]
SWEEP = """
name: tracked
baseline:
  arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
  task: {name: classification, dataset: builtin/digits}
  train: {epochs: 4, batch_size: 256, lr: 0.003, min_lr: 0.0}
space: {train.lr: [0.003, 1.0e-9, 1.0e+30]}
design: one_factor
seeds: 2
prune: {pruner: threshold, lower: 99.9, n_warmup_steps: 2}
track: TRACK
"""
SECRET = "5ec2e7" * 7


@pytest.fixture(scope="module")
def tracked(run, home):
    """Two trials that complete, two that are pruned, two that fail, watched by all trackers as they are by default."""
    ended, run_dir = run(SWEEP, "[tensorboard, mlflow, wandb, optuna]")
    assert ended.returncode == 3, ended.stderr
    return ended, run_dir, Run.open(run_dir)


def test_the_tables_name_the_same_trackers():
    assert sorted(TRACKERS) == sorted(TRACKER_SPECS) == sorted(LIBRARIES)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_every_trial_is_one_run_with_its_config_curve_and_outcome(tracked, readers, own_words, name):
    _, run_dir, opened = tracked
    found = readers[name](run_dir)
    assert {record.status for record in opened.records} == {"completed", "pruned", "failed"}
    assert len(found) == len(opened.records) == 6
    for record in opened.records:
        seen = found[f"{record.variant} seed={record.seed}"]
        assert seen.group == "tracked"
        assert float(seen.config["train.lr"]) == record.spec["train"]["lr"]
        if name != "optuna":  # which has what varies
            assert seen.config["arch.attention.name"] == "softmax"
        assert (seen.config["variant"], seen.config["trial_id"]) == (record.variant, record.trial_id)
        assert seen.status == record.status
        for metric in ("train_loss", "top1", "loss") if name != "optuna" else ("top1",):
            expected = [(point["epoch"], pytest.approx(point[metric], rel=1e-6)) for point in record.curve]
            assert seen.history.get(metric, []) == expected
        finals = {**record.metrics, "params_m": record.params_m, "gmacs": record.gmacs}
        assert {key: seen.final[key] for key in finals} == pytest.approx(finals, rel=1e-6)
        assert str(seen.state).split(":")[0] == str(own_words[name](record.status))


@pytest.mark.slow
def test_mlflow_has_the_table_at_the_run_of_the_sweep(tracked):
    from mlflow import MlflowClient

    _, run_dir, _ = tracked
    client = MlflowClient(f"sqlite:///{run_dir}/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("tracked").experiment_id
    (sweep,) = client.search_runs([experiment], "tags.`archsweep.role` = 'sweep'")
    assert (sweep.info.status, sweep.info.run_name) == ("FINISHED", "tracked")
    local = client.download_artifacts(sweep.info.run_id, "table.md")
    assert Path(local).read_text() == (run_dir / "table.md").read_text()


@pytest.mark.slow
def test_mlflow_shows_the_final_value_of_a_trial_that_ends_within_a_millisecond(tmp_path, monkeypatch):
    """Of one step and one millisecond MLflow shows the largest value: a smaller final one needs a later time."""
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracker = TRACKERS["mlflow"](TRACKER_SPECS["mlflow"](), TrackedSweep("tracked", RunDir(tmp_path), "0123"))
    names = {"sweep": "tracked", "variant": "a", "trial_id": "a-0", "attempt": 1}
    trial = TrackedRun("0123-a-0-1", "a seed=0", names, "")
    tracker.start(trial)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 1_700_000_000.0)
        tracker.epoch(trial, 1, {"top1": 80.0, "loss": 0.5})
        tracker.end(trial, RunEnd("completed", 1, {"top1": 70.0, "loss": 0.5}, {}))
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("tracked").experiment_id
    (seen,) = client.search_runs([experiment], "attributes.run_name = 'a seed=0'")
    assert seen.data.metrics == {"top1": 70.0, "loss": 0.5}


def test_tensorboard_shows_the_table(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    ended, run_dir = run(SWEEP, "tensorboard")
    assert ended.returncode == 3, ended.stderr
    events = EventAccumulator(str(run_dir / "tensorboard" / "table"))
    events.Reload()
    (text,) = events.Tensors("table/text_summary")
    assert text.tensor_proto.string_val[0].decode() == (run_dir / "table.md").read_text()


@pytest.mark.slow
def test_wandb_has_the_tables_as_an_artifact(tracked, readers):
    _, run_dir, _ = tracked
    (path,) = run_dir.glob("wandb/offline-run-*-table/*.wandb")
    records = sys.modules[readers["wandb"].__module__].wandb_records(path)
    (artifact,) = (record.artifact for record in records if record.HasField("artifact"))
    assert (artifact.name, artifact.type) == ("tracked-table", "table")
    assert sorted(entry.path for entry in artifact.manifest.contents) == ["table.csv", "table.md"]


@pytest.mark.slow
def test_without_login_a_note_states_that_wandb_stays_offline(tracked):
    ended, run_dir, _ = tracked
    expected = (
        f"archsweep: wandb is offline (not logged in): `wandb sync {run_dir}/wandb/offline-run-*` sends what it wrote"
    )
    assert [line for line in ended.stderr.splitlines() if "wandb" in line] == [expected]


@pytest.mark.slow
def test_nothing_is_written_outside_the_run_directory(tracked, home):
    _, run_dir, _ = tracked
    assert [path for path in home.rglob("*") if path.is_file()] == []
    assert sorted(path.name for path in run_dir.parents[1].iterdir()) == ["runs", "sweep.yaml"]


@pytest.mark.slow
def test_a_finished_sweep_starts_no_tracker_again(tracked, run):
    _, run_dir, _ = tracked

    def written():
        folders = ("tracking", "tensorboard", "mlflow", "optuna", "wandb")
        return {path: path.stat().st_mtime_ns for folder in folders for path in (run_dir / folder).rglob("*")}

    before = written()
    run(SWEEP, "[tensorboard, mlflow, wandb, optuna]", again=run_dir.parents[1])
    assert written() == before


# Slow, because three trackers start twice. Of the default run, test_tracker_processes.py holds that what a tracker has
# missed is delivered at the next start.
@pytest.mark.slow
def test_a_killed_driver_leaves_one_run_per_trial_that_the_next_start_continues(run, readers, home, tmp_path):
    """The second start finds the run of the interrupted trial, adds the rest of its curve and ends it."""
    text = SWEEP.replace("epochs: 4", "epochs: 60").replace("[0.003, 1.0e-9, 1.0e+30]", "[0.003]")
    text = text.replace("seeds: 2", "seeds: 1").replace("n_warmup_steps: 2", "n_warmup_steps: 99")
    text += "checkpoints: {min_seconds: 0}\n"
    track = "[tensorboard, mlflow, {name: wandb, mode: offline}, optuna]"
    (tmp_path / "sweep.yaml").write_text(text.replace("TRACK", track))
    command = [sys.executable, "-m", "runners.cli", "run", "sweep.yaml", "--engine", "in-process", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "WANDB_API_KEY": SECRET}
    driver = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    run_dir = tmp_path / "runs" / "tracked"
    deadline = time.monotonic() + 300
    progress = ""
    while '"epoch": 5,' not in progress and driver.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            progress = (run_dir / "progress.jsonl").read_text()
        time.sleep(0.01)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL

    ended, _ = run(text, track, again=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (record,) = Run.open(run_dir).records
    assert record.resumed_from_epoch
    expected = [(point["epoch"], pytest.approx(point["top1"], rel=1e-6)) for point in record.curve]
    assert len(expected) == 60
    for name, read in readers.items():
        (seen,) = read(run_dir).values()
        assert (name, seen.status, seen.history["top1"]) == (name, "completed", expected)
    keepers = [path for path in run_dir.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert keepers == []


def test_a_tracker_that_fails_costs_the_sweep_nothing_and_is_caught_up_on_later(run, readers, monkeypatch):
    """MLflow without its server, TensorBoard without a folder: two warnings, every record; then both work again."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{SECRET}@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    text = SWEEP.replace("[0.003, 1.0e-9, 1.0e+30]", "[0.003]")
    ended, run_dir = run(text, "[mlflow, {name: tensorboard, dir: sweep.yaml}]")
    assert ended.returncode == 0
    assert [record.status for record in Run.open(run_dir).records] == ["completed"] * 2
    warnings = sorted(line for line in ended.stderr.splitlines() if "left out" in line)
    later = "(the sweep goes on, and the next start sends it what is missing)"
    assert [line[-len(later) :] for line in warnings] == [later, later]
    assert [line.split(": ")[:4] for line in warnings] == [
        ["archsweep", "warning", "mlflow is left out", "MlflowException"],
        ["archsweep", "warning", "tensorboard is left out", "NotADirectoryError"],
    ]
    assert SECRET not in ended.stderr
    assert not [path for path in run_dir.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    ended, _ = run(text, "tensorboard", again=run_dir.parents[1])
    assert (ended.returncode, "left out" in ended.stderr) == (0, False)
    found = readers["tensorboard"](run_dir)
    assert [found[f"baseline seed={seed}"].status for seed in (0, 1)] == ["completed"] * 2
    assert all(len(seen.history["top1"]) == 4 for seen in found.values())


def test_a_missing_library_is_named_before_anything_runs(run, monkeypatch):
    monkeypatch.setitem(LIBRARIES, "mlflow", "no_such_library")
    ended, run_dir = run(SWEEP, "[tensorboard, mlflow]")
    assert ended.returncode == 2
    assert not run_dir.exists()
    assert ended.stderr == (
        "archsweep: 1 problem\n\n"
        "sweep.yaml:11:22: track[1]: the tracker 'mlflow' needs the package 'no_such_library', which is not installed\n"
        "    track: [tensorboard, mlflow]\n"
        "                         ^\n"
        "  pip install 'archsweep[mlflow]'\n"
    )
