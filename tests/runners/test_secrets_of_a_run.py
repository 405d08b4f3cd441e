"""No password and no token of a sweep file, the command line or an error is in the run directory or its report."""

from __future__ import annotations

import pytest

from results.store.provenance import read_sessions
from results.store.run_layout import RunDir
from runners.trials.outcome import failure_of
from search_space import load_sweep

SWEEP = """# see http://me:hunter2@wiki/page
name: tiny
description: data from https://h/files?token=hunter2, of https://openreview.net/forum?id=abc
baseline:
  arch: {model: vit, depth: 1, embed_dim: 4, num_heads: 1, mlp_ratio: 1, patch_size: 4, class_token: false}
  train: {epochs: 1, batch_size: 2048}
space: {}
design: factorial
published: [{when: {}, top1: 50, source: "https://hunter2@h/paper"}]
track: {name: mlflow, tracking_uri: "sqlite:///x.db"}
"""


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, archsweep):
    place = tmp_path_factory.mktemp("secrets")
    (place / "tiny.yaml").write_text(SWEEP)
    run_dir = RunDir(place / "run")
    done = archsweep(
        "run", "tiny.yaml", "--engine", "in-process", "-q", "--no-cache", "--out", run_dir, "--set",
        "description='old: http://h/?sig=hunter2'", "--set", "track=null", cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert archsweep("report", run_dir, cwd=place).returncode == 0
    return run_dir


def test_no_file_of_the_run_holds_a_secret(run_dir):
    files = [path for path in run_dir.path.rglob("*") if path.is_file()]
    assert {run_dir.provenance, run_dir.sweep, run_dir.plan, run_dir.report} <= set(files)
    assert [path for path in files if b"hunter2" in path.read_bytes()] == []


def test_the_copy_of_the_sweep_says_that_it_is_masked_and_is_a_sweep(run_dir):
    first, *lines = run_dir.sweep.read_text().splitlines()
    assert first == "# Copied by archsweep; *** replaces passwords and tokens, which are not copied."
    assert lines[0] == "# see http://***@wiki/page"
    assert "https://openreview.net/forum?id=abc" in lines[2]
    assert load_sweep(run_dir.sweep).sweep.name == "tiny"
    (session,) = read_sessions(run_dir)
    assert session["overrides"][0] == "description='old: http://h/?sig=***'"


def test_a_sweep_without_secrets_is_copied_as_it_is(tmp_path, archsweep):
    text = SWEEP.replace("me:hunter2@", "").replace("hunter2@", "").replace("?token=hunter2", "")
    (tmp_path / "tiny.yaml").write_text(text)
    run = ["run", "tiny.yaml", "--engine", "in-process", "-q", "--no-cache", "--out", "r"]
    done = archsweep(*run, "--set", "track=null", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r" / "sweep.yaml").read_text() == text


def test_the_failure_of_a_trial_quotes_no_secret():
    try:
        raise OSError("no answer from https://me:hunter2@h/?token=hunter2")
    except OSError as err:
        failure = failure_of(err)
    assert failure.message == "no answer from https://***@h/?token=***"
    assert "hunter2@" not in failure.traceback.replace("raise OSError", "")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9/?token=hunter2", "http://me:hunter2@127.0.0.1:9"])
def test_a_tracker_with_a_secret_is_refused_without_quoting_it(tmp_path, archsweep, uri):
    (tmp_path / "tiny.yaml").write_text(SWEEP.replace("hunter2", "").replace("sqlite:///x.db", uri))
    for command in (["check", "tiny.yaml"], ["run", "tiny.yaml", "--out", "r"]):
        done = archsweep(*command, cwd=tmp_path)
        assert done.returncode == 2
        assert "must not contain a password or token" in done.stderr
        assert "hunter2" not in done.stderr + done.stdout
    assert not (tmp_path / "r").exists()


def test_what_a_tracker_logs_is_masked(tmp_path, archsweep, monkeypatch):
    """The server may be named by the environment, with a password, and the client quotes it when it does not answer."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9/?token=hunter2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "tiny.yaml").write_text(SWEEP.replace("hunter2", "").replace('tracking_uri: "sqlite:///x.db"', ""))
    done = archsweep("run", "tiny.yaml", "--engine", "in-process", "-q", "--no-cache", "--out", "r", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mlflow is left out" in done.stderr
    files = [path for path in (tmp_path / "r").rglob("*") if path.is_file()]
    assert b"127.0.0.1" in (tmp_path / "r/tracking/mlflow.log").read_bytes()
    assert [path for path in files if b"hunter2" in path.read_bytes()] == []
    assert "hunter2" not in done.stderr
