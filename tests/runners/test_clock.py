"""The clock is set back while a sweep runs, between its starts, or was wrong all the time: nothing is lost by it."""

from __future__ import annotations

import datetime
import itertools
import types

import pytest

import runners.display.tally
import runners.trials.assignment
from results import (
    LedgerWriter,
    PlannedVariant,
    ProgressEvent,
    ProgressWriter,
    Run,
    RunPlan,
    TrialRecord,
    format_status,
    latest_by_trial,
    run_status,
    write_plan,
)
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import load_sweep

DAY = 86_400.0


@pytest.fixture
def clock_going_back(monkeypatch):
    """Every look at the clock of the wall says a day less; those that measure go on."""
    days = itertools.count()

    def now():
        return 1.7e9 - DAY * next(days)

    class Datetime(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.fromtimestamp(now(), tz)

    fake = types.SimpleNamespace(datetime=Datetime, UTC=datetime.UTC)
    monkeypatch.setattr(runners.trials.assignment, "datetime", fake)
    monkeypatch.setattr(
        runners.display.tally, "time", types.SimpleNamespace(time=now, monotonic=runners.display.tally.time.monotonic)
    )


@pytest.mark.thorough
def test_a_run_under_it_is_the_run_without(write_sweep, tmp_path, clock_going_back):
    plan = make_plan(load_sweep(write_sweep(), overrides=["seeds=1"]))
    for limit in (1, 1, None):  # three starts of the driver
        result = run_sweep(plan, tmp_path / "back", engine="in-process", limit=limit)
    assert (result.counts["completed"], result.remaining) == (3, 0)
    run = Run.open(tmp_path / "back")
    stamps = [record.finished_at for record in run.records]
    assert stamps == sorted(stamps, reverse=True)
    assert len(set(stamps)) == 3
    assert all(0 < record.train_seconds <= record.total_seconds < 600 for record in run.records)
    assert run.unfinished == ()
    said = format_status(run_status(run, now=0.0))
    assert "3 of 3 trials done (100 %)" in said


@pytest.mark.slow
def test_a_run_under_it_has_the_numbers_of_one_without(write_sweep, tmp_path, request):
    plan = make_plan(load_sweep(write_sweep(**{"seeds: 2": "seeds: 1"})))
    run_sweep(plan, tmp_path / "right", engine="in-process")
    request.getfixturevalue("clock_going_back")
    run_sweep(plan, tmp_path / "back", engine="in-process")
    right, back = (
        {one.trial_id: one.metrics for one in Run.open(tmp_path / name).records} for name in ("right", "back")
    )
    assert back == right


def a_run(path, events, records=()):
    names = ("done", "now")
    variants = [PlannedVariant(name=name, variant_id=name, is_baseline=name == "done") for name in names]
    write_plan(path, RunPlan(sweep="s", design="one_factor", metric="top1", seeds=[0], variants=variants, epochs=2))
    with LedgerWriter(path) as ledger, ProgressWriter(path) as progress:
        for record in records:
            ledger.append(record)
        for t, name, event in events:
            progress.append(ProgressEvent(t, f"{name}-0", name, 0, event))
    return path


def record(name, status="failed", **fields):
    base = {"trial_id": f"{name}-0", "variant_id": name, "variant": name, "seed": 0, "spec": {}, "status": status}
    return TrialRecord.model_validate({**base, **fields})


@pytest.mark.parametrize("now", [-1e9, 0.0, 100.0, 1e9])
def test_the_time_left_is_never_less_than_none(tmp_path, now):
    """One trial that ended before it began, one that took ten seconds, one that began in the future."""
    events = [(1000.0, "done", "start"), (10.0, "done", "end"), (0.0, "past", "start"), (10.0, "past", "end")]
    run = a_run(tmp_path / "run", [*events, (5000.0, "now", "start")], [record("done", "completed")])
    with LedgerWriter(run):
        status = run_status(Run.open(run), now=now)
    assert [trial.variant for trial in status.running] == ["now"]
    # ten seconds, the only duration that can be one; all of it is left, or nothing
    assert status.eta_seconds == (0.0 if now == 1e9 else 10.0)


def test_a_retried_trial_runs_again_whatever_its_stamps_say(tmp_path):
    """It failed in the year 2030 by the clock of then, and was started again in 2026."""
    failed = record("now", finished_at="2030-01-01T00:00:00+00:00")
    events = [(1.89e9, "now", "start"), (1.8934e9, "now", "end"), (1.77e9, "now", "start")]
    run = a_run(tmp_path / "run", events, [failed])
    assert [trial.variant for trial in Run.open(run).unfinished] == ["now"]


def test_attempts_are_ordered_by_their_number_not_by_their_stamp():
    first = record("now", finished_at="2030-01-01T00:00:00+00:00", attempt=1)
    second = record("now", "pruned", finished_at="2026-01-01T00:00:00+00:00", attempt=2)
    for order in ([first, second], [second, first]):
        assert latest_by_trial(order)["now-0"].status == "pruned"


@pytest.mark.thorough
@pytest.mark.parametrize(
    "stamp", ["", "yesterday", "2026-13-45T99:00", "9999-12-31T23:59:59-23:59", "0001-01-01", "\x00"]
)
def test_a_stamp_that_is_none_is_no_error(archsweep, tmp_path, stamp):
    events = [(1.0, "now", "start"), (2.0, "now", "end"), (3.0, "now", "start")]
    run = a_run(
        tmp_path / "run", events, [record("now", finished_at=stamp), record("done", "completed", finished_at=stamp)]
    )
    for verb in (["status"], ["table"], ["ls", "--columns", "variant,finished_at"], ["watch", "--once"], ["report"]):
        done = archsweep(verb[0], run, *verb[1:], cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_times_that_no_clock_shows_are_passed_over(tmp_path):
    run = a_run(tmp_path / "run", [(1.0, "now", "start")])
    with open(run / "progress.jsonl", "a") as stream:
        for t in ("1e308", "NaN", "Infinity", "-1e300", "1e12"):
            stream.write(f'{{"t": {t}, "trial_id": "now-0", "variant": "now", "seed": 0, "event": "end"}}\n')
    opened = Run.open(run)
    assert len(opened.progress) == 1
    assert format_status(run_status(opened, now=1e308))
