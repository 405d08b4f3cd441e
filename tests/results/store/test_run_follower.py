"""A look at a growing run costs what was appended, and shows what a fresh look shows."""

from __future__ import annotations

import os

import pytest

from results import LedgerWriter, ProgressEvent, ProgressWriter, Run, RunFollower, run_status, write_plan
from results.store.progress import read_progress
from results.store.record_summary import summarize


def event(seed, kind, *, t=0.0, **fields):
    return ProgressEvent(t, f"a-{seed}", "a", seed, kind, **fields)


@pytest.fixture
def run_dir(tmp_path, plan, planned):
    write_plan(tmp_path / "run", plan(planned("a", is_baseline=True), seeds=list(range(9))))
    return tmp_path / "run"


def assert_shows_the_run(follower, run_dir):
    seen, whole = follower.look(), Run.open(run_dir)
    assert list(seen.records) == [summarize(record) for record in whole.records]
    assert (seen.progress, seen.driver, seen.torn) == (whole.progress, whole.driver, whole.torn)
    assert run_status(seen, now=9.0) == run_status(whole, now=9.0)


def test_a_look_reads_only_what_was_appended(run_dir, record):
    follower = RunFollower(run_dir)
    assert_shows_the_run(follower, run_dir)  # nothing is there yet
    with LedgerWriter(run_dir) as ledger, ProgressWriter(run_dir, ledger.summaries) as progress:
        ledger.append(record("a", 0, 90.0))
        progress.append(event(0, "start"))
        assert_shows_the_run(follower, run_dir)
        sizes = ledger.path.stat().st_size + progress.path.stat().st_size
        assert follower.bytes_read == sizes
        ledger.append(record("a", 1, 91.0))
        progress.append(event(1, "start"))
        assert_shows_the_run(follower, run_dir)
        assert follower.bytes_read == ledger.path.stat().st_size + progress.path.stat().st_size - sizes
        assert_shows_the_run(follower, run_dir)
        assert follower.bytes_read == 0


@pytest.mark.parametrize("name", ["ledger.jsonl", "progress.jsonl"])
@pytest.mark.parametrize("how", ["shorter", "another", "rewritten", "gone"])
def test_a_file_that_was_replaced_is_read_from_its_beginning(run_dir, record, name, how):
    with LedgerWriter(run_dir) as ledger, ProgressWriter(run_dir, ledger.summaries) as progress:
        for seed in range(3):
            ledger.append(record("a", seed, 90.0 + seed))
            progress.append(event(seed + 3, "start"))
    follower = RunFollower(run_dir)
    follower.look()
    path = run_dir / name
    lines = path.read_bytes().splitlines(keepends=True)
    if how == "shorter":
        path.write_bytes(lines[0])
    elif how == "another":  # longer than what was seen
        (run_dir / "new").write_bytes(b"".join([*lines[::-1], *lines]))
        os.replace(run_dir / "new", path)
    elif how == "rewritten":  # in place and longer
        path.write_bytes(b"".join([*lines[::-1], *lines]))
    else:
        path.unlink()
    assert_shows_the_run(follower, run_dir)
    with open(path, "ab") as stream:
        stream.write(lines[1])
    assert_shows_the_run(follower, run_dir)


def test_a_line_that_is_being_written_counts_once_it_is_whole(run_dir, record):
    line = record("a", 0, 90.0).model_dump_json()
    ledger = run_dir / "ledger.jsonl"
    follower = RunFollower(run_dir)
    for text, found, torn in (
        (line[:50], 0, True),
        (line, 1, False),
        (line + "\n", 1, False),
        (f"{line}\n{line}", 2, False),
    ):
        ledger.write_text(text)
        seen = follower.look()
        assert (len(seen.records), seen.torn) == (found, torn)


def test_progress_does_not_grow_with_the_trials_done(run_dir, record):
    """Events of trials without a record stay, however old; of the others only the latest."""
    sizes = []
    with (
        LedgerWriter(run_dir) as ledger,
        ProgressWriter(run_dir, ledger.summaries, longest=20_000, latest=5_000) as progress,
    ):
        progress.append(event(0, "start", t=1.0))
        progress.append(event(0, "epoch", t=2.0, metrics={"epoch": 1, "top1": 50.0}))
        for seed in range(1, 400):
            progress.append(event(seed, "start", t=10.0 + seed))
            progress.append(event(seed, "epoch", t=10.2 + seed, metrics={"epoch": 1, "top1": 50.0}))
            ledger.append(record("a", seed, 90.0))
            progress.append(event(seed, "end", t=10.5 + seed))
            sizes.append(progress.path.stat().st_size)
    assert max(sizes) < 21_000
    events, unreadable = read_progress(progress.path)
    assert unreadable == 0
    (cut,) = [one for one in events if one.event == "cut"]
    ended = [one.seed for one in events if one.event == "end"]
    assert ended == list(range(ended[0], 400))  # complete from some place on
    assert cut.t <= 10.5 + ended[0]
    (unfinished,) = Run.open(run_dir).unfinished
    assert (unfinished.trial_id, unfinished.started, unfinished.epoch) == ("a-0", 1.0, 1)


def test_a_long_file_of_an_earlier_driver_is_shortened_at_the_start(run_dir, record):
    with LedgerWriter(run_dir) as ledger:
        ledger.append(record("a", 0, 90.0))
        with ProgressWriter(run_dir, ledger.summaries) as progress:
            for _ in range(300):
                progress.append(event(0, "epoch", metrics={"epoch": 1}))
        before = progress.path.stat().st_size
        with ProgressWriter(run_dir, ledger.summaries, longest=20_000, latest=5_000) as progress:
            progress.append(event(1, "start", t=7.0))
        assert progress.path.stat().st_size < 6_000 < before
    assert [trial.seed for trial in Run.open(run_dir).unfinished] == [1]


def test_trials_without_a_record_are_never_dropped(run_dir):
    """Five hundred at once: the file is as long as it must be, and shortened the more rarely."""
    with (
        LedgerWriter(run_dir) as ledger,
        ProgressWriter(run_dir, ledger.summaries, longest=5_000, latest=1_000) as progress,
    ):
        for seed in range(500):
            progress.append(event(seed, "start", t=float(seed)))
    assert [trial.seed for trial in Run.open(run_dir).unfinished] == list(range(500))
