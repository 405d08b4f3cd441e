"""`archsweep watch` shows any run from its files: growing, ended or crashed."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from results import (
    Failure,
    LedgerWriter,
    PlannedVariant,
    ProgressEvent,
    ProgressWriter,
    RunPlan,
    TrialRecord,
    write_plan,
)
from runners.watch import sparkline, throughput, watch

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], "_.-=+*#@"),
        ([7, 0], "@_"),
        ([5, 5, 5], "+++"),  # no range: the middle
        ([3], "+"),
        ([0, float("nan"), 7], "_ @"),
        ([float("inf")], " "),
        ([], ""),
    ],
)
def test_sparkline_by_hand(values, expected):
    assert sparkline(values, letters="_.-=+*#@") == expected


def test_a_long_curve_keeps_its_first_and_last_value():
    line = sparkline(list(range(1000)), width=10, letters="0123456789")
    assert len(line) == 10
    assert (line[0], line[-1]) == ("0", "9")


def event(t, kind):
    return ProgressEvent(t, "x", "baseline", 0, kind, {"epoch": 1} if kind == "epoch" else {})


def test_throughput_by_hand():
    """Two trials and six epochs in the last 600 s; what is older than a quarter of an hour is history."""
    events = [event(0, "end"), *(event(9400 + 100 * number, "epoch") for number in range(6))]
    events += [event(9500, "end"), event(9900, "end")]
    assert throughput(events, 10_000) == (2 * 3600 / 600, 6 * 60 / 600)
    assert throughput([], 10_000) == (0, 0)


def record(seed, status="completed", **fields):
    base = {
        "trial_id": f"t{seed}",
        "variant_id": "v",
        "variant": "baseline",
        "seed": seed,
        "spec": {},
        "status": status,
    }
    return TrialRecord.model_validate({**base, **fields})


@pytest.fixture
def run_dir(tmp_path):
    variant = PlannedVariant(name="baseline", variant_id="v", is_baseline=True)
    plan = RunPlan(sweep="watched", design="list", metric="top1", seeds=[0, 1, 2], variants=[variant], epochs=4)
    write_plan(tmp_path / "run", plan)
    return tmp_path / "run"


def shown(run_dir):
    stream = io.StringIO()
    watch(run_dir, Console(file=stream, width=100))
    return stream.getvalue()


def test_a_run_without_a_driver_is_shown_once(run_dir):
    failure = Failure(type="OutOfMemory", message="CUDA \x1b[31mout of memory\nmore")
    with LedgerWriter(run_dir) as ledger:
        ledger.append(record(0, metrics={"top1": 91.5}))
        ledger.append(record(1, "failed", failure=failure))
    text = shown(run_dir)
    assert "watched: 2 of 3 trials done (67 %)" in text
    assert "best so far: top1 91.5, baseline, seed 0" in text
    assert "driver: none at work; `archsweep run` with the same sweep continues" in text
    assert "failed: baseline, seed 1: OutOfMemory: CUDA \\x1b[31mout of memory\n" in text
    assert "pace" not in text


def test_running_trials_have_their_curves(run_dir):
    with LedgerWriter(run_dir), ProgressWriter(run_dir) as progress:
        progress.append(ProgressEvent(time.time() - 5, "t0", "baseline", 0, "start"))
        for epoch, top1 in ((1, 10.0), (2, 80.0)):
            progress.append(ProgressEvent(time.time(), "t0", "baseline", 0, "epoch", {"epoch": epoch, "top1": top1}))
        text = shown(run_dir)
    assert "2/4" in text
    assert "80" in text
    assert sparkline([10, 80]) in text or sparkline([10, 80], letters="_.-=+*#@") in text
    assert "epochs per minute" in text


def read_until(master, wanted, process):
    text, deadline = "", time.monotonic() + 60
    while wanted not in text:
        assert time.monotonic() < deadline, text
        assert process.poll() is None, text
        if select.select([master], [], [], 0.2)[0]:
            text += os.read(master, 65536).decode(errors="replace")
    return text


def test_on_a_terminal_it_follows_the_run_and_ctrl_c_ends_only_the_view(run_dir):
    """This process is the driver."""
    master, slave = pty.openpty()
    with LedgerWriter(run_dir) as ledger:
        process = subprocess.Popen(
            [sys.executable, "-m", "runners.cli", "watch", str(run_dir)],
            stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        try:
            read_until(master, "0 of 3 trials done", process)
            ledger.append(record(0, metrics={"top1": 91.5}))
            read_until(master, "1 of 3 trials done", process)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
            os.close(slave)
            os.close(master)
        ledger.append(record(1, metrics={"top1": 92.5}))  # the run goes on
    assert "2 of 3 trials done" in shown(run_dir)
