"""A trial that is stopped, killed, or loses its worker continues where it was, with an indistinguishable record."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
import torch

from results import Run, format_status, run_status
from results.store.run_layout import RunDir
from runners.driver.stop_request import StopRequest
from runners.engines import ENGINES
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import load_sweep

SWEEP = """
    name: long
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, attention: reattention}
      train: {epochs: 40, batch_size: 256, mixup: 0.5, ema_decay: 0.9}
    space: {}
    design: factorial
    seeds: 1
    metric: top1
    checkpoints: {min_seconds: 0}
"""


@pytest.fixture
def plan(write_sweep):
    return make_plan(load_sweep(write_sweep(SWEEP)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What comes of the trial when nothing happens to it."""
    return of_a_whole_run(tmp_path_factory.mktemp("whole"), "seeds=1")


@pytest.fixture(scope="module")
def whole_of_two_seeds(tmp_path_factory):
    return of_a_whole_run(tmp_path_factory.mktemp("two_seeds"), "seeds=2")


def of_a_whole_run(folder, override):
    (folder / "sweep.yaml").write_text(SWEEP)
    run_sweep(make_plan(load_sweep(folder / "sweep.yaml", overrides=[override])), folder / "run", engine="in-process")
    return what_came_of_it(Run.open(folder / "run"))


def when_an_epoch_is_done(run_dir, number, action, trials=1):
    """Starts a thread that acts once so many trials have finished epoch `number`."""

    def wait():
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if (run_dir / "progress.jsonl").read_text().count(f'"epoch": {number},') == trials:
                    return action()
            time.sleep(0.01)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def what_came_of_it(run):
    return {record.trial_id: (record.curve, record.metrics) for record in run.deciding.values()}


def assert_nothing_is_missing(run, whole, *, trials=1):
    found = what_came_of_it(run)
    assert len(found) == trials
    assert found == {trial: whole[trial] for trial in found}


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_sigterm_saves_running_trials_and_the_same_run_continues_them(plan, whole, tmp_path, ray_cluster, engine):
    run_dir = tmp_path / "run"
    main = threading.main_thread().ident
    thread = when_an_epoch_is_done(run_dir, 5, lambda: signal.pthread_kill(main, signal.SIGTERM))
    stopped = run_sweep(plan, run_dir, engine=engine)
    thread.join()
    assert (stopped.interrupted, stopped.signal, stopped.remaining) == (True, signal.SIGTERM, 1)
    then = Run.open(run_dir)
    (preempted,) = then.records
    assert preempted.status == "preempted"
    assert preempted.curve == whole[preempted.trial_id][0][: preempted.epochs]
    assert "0 completed, 1 preempted" in format_status(run_status(then, now=time.time()))

    ended = run_sweep(plan, run_dir, engine="in-process")  # on Ray it goes on below, without its worker
    assert (dict(ended.counts), ended.interrupted) == ({"completed": 1}, False)
    run = Run.open(run_dir)
    assert_nothing_is_missing(run, whole)
    assert [record.resumed_from_epoch for record in run.records] == [None, preempted.epochs]
    assert list(run_dir.glob("trials/*/checkpoint.pt")) == []


@pytest.mark.slow
@pytest.mark.thorough
def test_run_of_a_killed_driver_continues(whole_of_two_seeds, write_sweep, tmp_path):
    """kill -9 in the second trial: the first is not run again, the second goes on, and no digit is another."""
    run_dir, path = tmp_path / "run", write_sweep(SWEEP)
    command = [sys.executable, "-m", "runners.cli", "run", str(path), "--set", "seeds=2", "--out", str(run_dir)]
    driver = subprocess.Popen(
        [*command, "--engine", "in-process"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    when_an_epoch_is_done(run_dir, 5, driver.kill, trials=2).join()
    assert driver.wait() == -signal.SIGKILL
    (first,) = Run.open(run_dir).records
    run_sweep(make_plan(load_sweep(path, overrides=["seeds=2"])), run_dir, engine="in-process")
    run = Run.open(run_dir)
    assert_nothing_is_missing(run, whole_of_two_seeds, trials=2)
    assert (len(run.records), run.records[0]) == (2, first)
    assert run.records[1].resumed_from_epoch >= 4


@pytest.mark.slow
@pytest.mark.parametrize("nohup", [False, True])
def test_a_closed_terminal_saves_the_trial_or_is_of_no_consequence(write_sweep, tmp_path, nohup):
    """What a lost ssh connection does; `nohup` asks to go on without one."""
    run_dir = tmp_path / "run"
    command = [sys.executable, "-m", "runners.cli", "run", str(write_sweep(SWEEP)), "--out", str(run_dir)]
    ours, theirs = pty.openpty()

    def with_that_terminal():
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)  # whatever the tests run under

    driver = subprocess.Popen(
        [*command, "--engine", "in-process"], stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=with_that_terminal
    )
    os.close(theirs)
    when_an_epoch_is_done(run_dir, 5, lambda: os.close(ours)).join()
    code = driver.wait(300)
    (record,) = Run.open(run_dir).records
    assert (code, record.status) == ((0, "completed") if nohup else (128 + signal.SIGHUP, "preempted"))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the worker in /proc")
@pytest.mark.slow
def test_trial_that_lost_its_worker_continues(plan, whole, tmp_path, ray_cluster, busy_worker):
    run_dir = tmp_path / "run"
    thread = when_an_epoch_is_done(run_dir, 5, lambda: os.kill(busy_worker(), signal.SIGKILL))
    run_sweep(plan, run_dir, engine="ray")
    thread.join()
    run = Run.open(run_dir)
    assert_nothing_is_missing(run, whole)
    assert run.records[0].resumed_from_epoch >= 4


def test_no_trial_starts_once_the_run_is_asked_to_stop(write_sweep, open_orchestrator, tmp_path):
    stop = StopRequest(RunDir(tmp_path), session="s", grace_seconds=1000)
    orchestrator = open_orchestrator(write_sweep(SWEEP), stop=stop)
    with stop.listening():
        signal.raise_signal(signal.SIGTERM)
    assert orchestrator.ask() is None
    assert orchestrator.num_remaining == 1


def test_second_signal_and_the_end_of_grace_end_at_once(tmp_path):
    stop = StopRequest(RunDir(tmp_path), session="s", grace_seconds=1000)
    with stop.listening():
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_asked
        assert stop.file.exists()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert not stop.file.exists()
    with StopRequest(RunDir(tmp_path), session="s", grace_seconds=0.01).listening():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            threading.Event().wait(300)
    said = []
    stop = StopRequest(RunDir(tmp_path), session="s", grace_seconds=1000, say=said.append)
    with stop.listening():
        signal.raise_signal(signal.SIGINT)
    assert said == ["stopping: running trials save checkpoints, 5 s at most; repeat to stop at once"]


@pytest.mark.parametrize(("number", "is_heard"), [(signal.SIGINT, True), (signal.SIGHUP, False)])
def test_of_ignored_signals_only_that_of_nohup_stays_ignored(tmp_path, number, is_heard):
    """A shell script ignores SIGINT in what it starts in the background; `kill -INT` means it all the same."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        stop = StopRequest(RunDir(tmp_path), session="s", grace_seconds=1000)
        with stop.listening():
            signal.raise_signal(number)
        assert stop.is_asked == is_heard
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_what_prints_may_itself_be_interrupted(tmp_path):
    """The signal comes while the terminal is in use (or while rich imports its own modules: seen once)."""
    terminal, said = threading.Lock(), []

    def say(text):
        if terminal.acquire(timeout=10):
            said.append(text)

    with StopRequest(RunDir(tmp_path), session="s", grace_seconds=1000, say=say).listening(), terminal:
        signal.raise_signal(signal.SIGINT)
        assert said == []
    # `terminal` is free before `listening` ends
    assert len(said) == 1


@pytest.mark.ray
@pytest.mark.slow
def test_trial_saves_itself_when_every_process_of_the_machine_is_asked_to_end(write_sweep, tmp_path):
    """What Slurm does: Ray's own processes die of the SIGTERM, and the driver cannot learn what became of the trial."""
    run_dir = tmp_path / "run"
    options = ["--set", "checkpoints.min_seconds=1000", "--set", "checkpoints.grace_seconds=10", "--out", str(run_dir)]
    command = [sys.executable, "-m", "runners.cli", "run", str(write_sweep(SWEEP.replace("40", "4000"))), *options]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    when_an_epoch_is_done(run_dir, 5, lambda: os.killpg(driver.pid, signal.SIGTERM)).join()
    assert driver.wait() == 128 + signal.SIGTERM
    (checkpoint,) = run_dir.glob("trials/*/checkpoint.pt")
    assert torch.load(checkpoint, weights_only=True)["state"]["epoch"] >= 5
