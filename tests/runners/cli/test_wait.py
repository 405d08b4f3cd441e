"""`archsweep wait`: exit codes for scripts."""

from __future__ import annotations

import json
import threading
import time

import pytest
from typer.testing import CliRunner

from results import LedgerWriter, PlannedVariant, RunPlan, TrialRecord, write_plan
from results.store.run_layout import RunDir
from runners.cli.app import app
from runners.session.wait import wait_for_run
from search_space import SpecError

PLAN = RunPlan(
    sweep="waiting",
    design="list",
    metric="top1",
    seeds=[0, 1],
    variants=[PlannedVariant(name="baseline", variant_id="v", is_baseline=True)],
)


def record(seed, **fields):
    base = {"trial_id": f"t{seed}", "variant_id": "v", "variant": "baseline", "seed": seed, "spec": {"seed": seed}}
    return TrialRecord.model_validate({**base, "status": "completed", "metrics": {"top1": 90.0}, **fields})


FAILED = {"status": "failed", "metrics": {}, "failure": {"type": "OutOfMemory", "message": "no memory"}}


@pytest.fixture
def run_dir(tmp_path):
    write_plan(tmp_path / "run", PLAN)
    return tmp_path / "run"


def written(run_dir, *records):
    with LedgerWriter(RunDir(run_dir)) as ledger:
        for each in records:
            ledger.append(each)


@pytest.mark.parametrize(
    ("records", "options", "code"),
    [
        ([record(0), record(1)], [], 0),
        ([record(0), record(1, **FAILED)], [], 3),
        ([record(0)], [], 5),
        ([record(0)], ["--until", "1"], 0),
        ([record(0)], ["--timeout", "0", "--patience", "9"], 4),
        ([record(0), record(1, **FAILED)], ["--until", "1"], 3),
    ],
)
def test_exit_codes(run_dir, records, options, code):
    written(run_dir, *records)
    assert CliRunner().invoke(app, ["wait", str(run_dir), *options]).exit_code == code


def test_no_such_run_is_refused(tmp_path):
    with pytest.raises(SpecError, match="no run: nothing there"):
        wait_for_run(tmp_path / "none")


@pytest.mark.parametrize("until", ["0", "-1", "half", "1.5"])
def test_what_cannot_be_waited_for_is_refused(run_dir, until):
    result = CliRunner().invoke(app, ["wait", str(run_dir), f"--until={until}"])
    assert isinstance(result.exception, SpecError)
    assert f"{until!r} is nothing to wait for" in str(result.exception)


def test_it_waits_as_long_as_a_driver_is_at_work(run_dir):
    """The driver holds the lock, writes one record at a time, and ends; a second waiter only waits for the first."""
    begun, seen = threading.Event(), []

    def drive():
        with LedgerWriter(RunDir(run_dir)) as ledger:
            begun.set()
            time.sleep(0.3)
            ledger.append(record(0))
            time.sleep(0.3)
            ledger.append(record(1))

    driver = threading.Thread(target=drive)
    driver.start()
    begun.wait(10)
    first, status = wait_for_run(run_dir, until=1, timeout=60, sleep=lambda seconds: time.sleep(min(seconds, 0.02)))
    seen.append((first, status.num_completed))
    last, status = wait_for_run(run_dir, timeout=60, sleep=lambda seconds: time.sleep(min(seconds, 0.02)))
    seen.append((last, status.num_completed))
    driver.join()
    assert seen == [("reached", 1), ("finished", 2)]


def test_patience_is_for_a_run_that_has_not_appeared(tmp_path):
    def appear():
        time.sleep(0.2)
        write_plan(tmp_path / "run", PLAN)
        written(tmp_path / "run", record(0), record(1))

    thread = threading.Thread(target=appear)
    thread.start()
    outcome, _ = wait_for_run(tmp_path / "run", patience=60, sleep=lambda seconds: time.sleep(min(seconds, 0.02)))
    thread.join()
    assert outcome == "finished"


def test_the_document_has_outcome_and_status(run_dir):
    written(run_dir, record(0), record(1))
    done = CliRunner().invoke(app, ["wait", str(run_dir), "--json"])
    found = json.loads(done.stdout)
    assert (found["outcome"], found["status"]["num_completed"], found["status"]["is_finished"]) == ("finished", 2, True)
