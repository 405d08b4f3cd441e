"""The mirror of a run in an Optuna storage: what optuna-dashboard shows, live, and what else may lie in the storage."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from results.store.run_layout import RunDir
from runners.trackers.contract import RunEnd, TrackedRun, TrackedSweep
from runners.trackers.optuna import OptunaTracker
from search_space import load_sweep_text, variants
from search_space.schema.tracking import OptunaSpec

pytestmark = pytest.mark.xdist_group("trackers")
SEARCH = """
name: tracked
baseline:
  arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
  task: {name: classification, dataset: builtin/digits}
  train: {epochs: 2, batch_size: 256, lr: 0.003}
space:
  arch.attention: [softmax, {value: refiner, with: {expansion: [1, 2]}}]
  train.lr: {min: 1.0e-4, max: 1.0e-2, log: true}
design: search
search: {sampler: random, num_trials: 4, seed: 3, objectives: [top1, gmacs]}
track: TRACK
"""
DESIGN = SEARCH[: SEARCH.index("  train.lr")] + "design: factorial\n"


@pytest.fixture
def dashboard():
    """Serves a storage by the real optuna-dashboard; returns what reads its API."""
    served = []

    def serve(storage):
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        program = [sys.executable, "-m", "optuna_dashboard._cli", str(storage)]
        command = [*program, "--host", "127.0.0.1", "--port", str(port)]
        served.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

        def get(path):
            deadline = time.monotonic() + 300
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api{path}", timeout=10) as answer:
                        return json.load(answer)
                except OSError:
                    if time.monotonic() > deadline or served[-1].poll() is not None:
                        raise
                    time.sleep(0.1)

        return get

    yield serve
    for process in served:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.thorough
def test_the_dashboard_shows_a_search(run, dashboard):
    """Two objectives by their names, the parameters that were drawn with their ranges, every trial, the table."""
    ended, run_dir = run(SEARCH.replace("track: TRACK\n", ""), "", "--optuna-storage", "study.journal")
    assert ended.returncode == 0, ended.stderr
    get = dashboard(run_dir.parents[1] / "study.journal")
    (summary,) = get("/studies")["study_summaries"]
    assert (summary["study_name"], summary["directions"]) == ("tracked", ["maximize", "minimize"])
    study = get(f"/studies/{summary['study_id']}?after=0")
    assert study["objective_names"] == ["top1", "gmacs"]
    assert [trial["state"] for trial in study["trials"]] == ["Complete"] * 4
    records = [json.loads(line) for line in (run_dir / "ledger.jsonl").read_text().splitlines()]
    by_id = {record["trial_id"]: record for record in records}
    for trial in study["trials"]:
        attrs = {each["key"]: each["value"] for each in trial["user_attrs"]}
        record = by_id.pop(json.loads(attrs["trial_id"]) if attrs["trial_id"].startswith('"') else attrs["trial_id"])
        assert trial["values"] == [record["metrics"]["top1"], record["gmacs"]]
        assert [each["value"] for each in trial["intermediate_values"]] == [point["top1"] for point in record["curve"]]
        assert {each["name"] for each in trial["params"]} == set(record["params"])
    assert by_id == {}
    assert (run_dir / "table.md").read_text() == study["note"]["body"]


@pytest.fixture
def tracker(tmp_path):
    """A tracker of a fixed design, as a start of the driver makes it, and the run of its n-th trial."""

    def open_(token="aaaa", **options):
        sweep = load_sweep_text(DESIGN).sweep
        settings = json.loads(sweep.model_dump_json(by_alias=True))
        tracked = TrackedSweep("tracked", RunDir(tmp_path), token, settings)
        return OptunaTracker(OptunaSpec(**options), tracked), [_run(variant) for variant in variants(sweep)]

    def _run(variant):
        spec = variant.setting.with_seed(0)
        names = {"variant": variant.name, "variant_id": variant.variant_id, "trial_id": "t", "seed": 0, "attempt": 1}
        return TrackedRun(variant.variant_id, variant.name, names, "", spec.model_dump(mode="json"))

    return open_


def trials(path, study="tracked"):
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    return optuna.load_study(study_name=study, storage=storage).trials


def test_a_trial_is_seen_while_it_runs_and_goes_on_after_an_interruption(tracker, tmp_path):
    path = tmp_path / "optuna" / "journal.log"
    first, runs = tracker()
    assert first.start(runs[1]) == 0
    first.epoch(runs[1], 1, {"top1": 10.0})
    (seen,) = trials(path)
    assert (seen.state.name, seen.intermediate_values, seen.params) == (
        "RUNNING",
        {1: 10.0},
        {"arch.attention": "refiner", "arch.attention[refiner].expansion": 1},
    )
    first.interrupt(runs[1])
    with path.open("a") as stream:
        stream.write('{"op_code": 8, "trial')  # a writer that was killed in the middle of a line
    second, _ = tracker()
    assert second.start(runs[1]) == 1, "the epoch that is there already"
    second.epoch(runs[1], 2, {"top1": 20.0})
    second.end(runs[1], RunEnd("completed", 2, {"top1": 20.0}, {"status": "completed"}))
    (seen,) = trials(path)
    assert (seen.state.name, seen.value, seen.intermediate_values) == ("COMPLETE", 20.0, {1: 10.0, 2: 20.0})


def test_a_study_of_another_run_is_left_alone(tracker, tmp_path):
    """Two runs of one sweep share a storage; so does a study that is none of ours."""
    path = tmp_path / "shared.log"
    first, runs = tracker(storage=str(path))
    first.start(runs[0])
    second, _ = tracker("bbbb", storage=str(path))
    assert second.notes == ("optuna: the study is 'tracked-bbbb': there 'tracked' is of another run",)
    assert (len(trials(path)), len(trials(path, "tracked-bbbb"))) == (1, 0)
    foreign = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    optuna.create_study(storage=foreign, study_name="mine")
    third, _ = tracker("cccc", storage=str(path), study="mine")
    assert third.notes == ("optuna: the study is 'mine-cccc': there 'mine' is of another run",)


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        (
            "postgresql://me:secret@host/db",
            "--optuna-storage: the storage is copied into the run directory, so it must not contain a password or "
            "token\n"
            "  remove it: database drivers read it from PGPASSWORD, ~/.pgpass or ~/.my.cnf\n",
        ),
        (
            "s3://bucket/study",
            "--optuna-storage: 's3://bucket/study' is not a storage that Optuna can write to\n"
            "  write a file, or a URL that begins with sqlite, postgresql, mysql\n",
        ),
        (
            "mysql+pymysql://me@host/db",
            "track[0]: mysql+pymysql://me@host/db needs the package 'pymysql', which is not installed\n"
            "  pip install 'pymysql'\n",
        ),
    ],
)
def test_a_storage_that_cannot_be_is_refused_before_anything_runs(run, storage, message):
    ended, run_dir = run(SEARCH.replace("track: TRACK\n", ""), "", "--optuna-storage", storage)
    assert (ended.returncode, ended.stderr) == (2, f"archsweep: 1 problem\n\n{message}")
    assert not run_dir.exists()
