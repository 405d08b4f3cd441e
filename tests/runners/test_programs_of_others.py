"""Training programs of others, as docs/own_training.md shows them: ended by `kill -9`, continued, and compared."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "own_training.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r'```(?:python|yaml) title="(.*?)"\n(.*?)```', PAGE, re.DOTALL))
CHECKOUT = "ARCHSWEEP_TIMM_CHECKOUT"
CONTINUES = """
import json, os, sys, time
first = int(open("checkpoint").read()) if "--continue" in sys.argv else 1
open("starts", "a").write(f"{os.getpid()} from {first}\\n")
for epoch in range(first, 5):
    print(f"epoch {epoch} score {epoch * float(sys.argv[1])}", flush=True)
    open("new", "w").write(str(epoch + 1))
    os.replace("new", "checkpoint")
    if first == 1 and epoch == 2 and float(sys.argv[1]) == 1: time.sleep(300)
json.dump({"score": 4 * float(sys.argv[1])}, open("out.json", "w"))
"""
PLAIN = """
name: plain
baseline:
  task:
    name: command
    argv: ["{python}", train.py, "{factor}"]
    config: {factor: 1}
    measures: {score: maximize}
    metrics: {json: out.json}
    progress: {regex: {epoch: 'epoch (\\d+)', score: 'score (\\S+)'}}
    resume: {file: checkpoint, argv: [--continue]}
    epochs: 4
space: {task.config.factor: [2]}
design: one_factor
seeds: 1
"""


def start(folder: Path, sweep: str, *options: str) -> subprocess.Popen[str]:
    """`archsweep run` of a sweep in the folder, one trial after the other, in a session of its own."""
    command = [sys.executable, "-m", "archsweep", "run", sweep, "--allow-commands", "--no-cache"]
    return subprocess.Popen(
        [*command, "--engine", "in-process", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(folder: Path, sweep: str, *options: str, returns: int = 0) -> str:
    process = start(folder, sweep, *options)
    said, _ = process.communicate(timeout=500)
    assert process.returncode == returns, said
    return said


def await_(condition: Callable[[], bool], seconds: float, process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def records(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]


def has_epochs(run: Path, count: int) -> bool:
    """Whether a trial that runs has reported so many epochs and no more."""
    for path in run.glob("trials/*/reported.json"):
        with contextlib.suppress(ValueError, FileNotFoundError):
            if len(json.loads(path.read_text())["curve"]) == count:
                return True
    return False


def kill_at_epoch(folder: Path, sweep: str, run: Path, count: int) -> None:
    """Start the sweep, and end archsweep with `kill -9` when its trial has reported so many epochs."""
    process = start(folder, sweep)
    await_(lambda: has_epochs(run, count), 200, process)
    process.kill()
    process.communicate()


def rows(path: Path) -> dict[str, dict[str, str]]:
    with open(path, newline="") as stream:
        return {row["variant"]: row for row in csv.DictReader(stream)}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
def test_a_plain_script_is_killed_and_continues(tmp_path):
    (tmp_path / "train.py").write_text(CONTINUES)
    (tmp_path / "plain.yaml").write_text(PLAIN)
    run = tmp_path / "runs" / "plain"
    kill_at_epoch(tmp_path, "plain.yaml", run, 2)
    [starts] = run.glob("trials/*/work/starts")
    pid = int(starts.read_text().split()[0])
    await_(lambda: not is_alive(pid), 10)
    finish(tmp_path, "plain.yaml")
    assert [line.partition(" ")[2] for line in starts.read_text().splitlines()] == ["from 1", "from 3"]
    found = rows(run / "table.csv")
    assert (float(found["baseline"]["score_mean"]), float(found["factor=2"]["score_mean"])) == (4.0, 8.0)


@pytest.mark.slow
def test_a_plain_script_that_is_killed_itself_continues_at_the_retry(tmp_path):
    (tmp_path / "train.py").write_text(CONTINUES)
    (tmp_path / "plain.yaml").write_text(PLAIN)
    run = tmp_path / "runs" / "plain"
    process = start(tmp_path, "plain.yaml")
    await_(lambda: has_epochs(run, 2), 200, process)
    [starts] = run.glob("trials/*/work/starts")
    os.kill(int(starts.read_text().split()[0]), signal.SIGKILL)
    assert "SIGKILL" in process.communicate(timeout=200)[0]
    assert process.returncode == 3
    finish(tmp_path, "plain.yaml", "--retry", "failed")
    assert [line.partition(" ")[2] for line in starts.read_text().splitlines()] == ["from 1", "from 3"]
    assert float(rows(run / "table.csv")["baseline"]["score_mean"]) == 4.0


@pytest.mark.slow
def test_the_sweep_of_timms_script(tmp_path):
    """`train.py` belongs to no package: the variable names a checkout of timm's repository."""
    if CHECKOUT not in os.environ:
        pytest.skip(f"{CHECKOUT} names no checkout of https://github.com/huggingface/pytorch-image-models")
    (tmp_path / "pytorch-image-models").mkdir()
    shutil.copy(Path(os.environ[CHECKOUT]) / "train.py", tmp_path / "pytorch-image-models")
    for name in ("images.py", "timm.yaml"):
        (tmp_path / name).write_text(EXAMPLES[name])
    subprocess.run([sys.executable, "images.py"], cwd=tmp_path, check=True)
    run = tmp_path / "runs" / "timm"
    kill_at_epoch(tmp_path, "timm.yaml", run, 2)
    [log] = run.glob("trials/*/train.log")
    finish(tmp_path, "timm.yaml")
    assert "Loaded checkpoint" in log.read_text()
    found = records(run)
    assert [record["status"] for record in found] == ["completed"] * 4
    for record in found:
        work = run / "trials" / record["trial_id"] / "work"
        with open(work / "run" / "summary.csv", newline="") as stream:
            written = [row for row in csv.DictReader(stream) if row["epoch"] != "epoch"]
        assert [point["epoch"] for point in record["curve"]] == [1, 2, 3, 4, 5, 6]
        assert record["metrics"]["top1"] == float(written[-1]["eval_top1"])
    # 40 images a class, and a learning rate of 1e-5: nearly no training
    table = rows(run / "table.csv")
    assert float(table["lr=1e-05"]["top1_mean"]) < float(table["baseline"]["top1_mean"])


@pytest.mark.slow
def test_the_sweep_of_a_trainer_of_hugging_face(tmp_path):
    """One that was killed ends where one ends that was not: the Trainer restores its random numbers."""
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    for name in ("hf_train.py", "hf.yaml"):
        (tmp_path / name).write_text(EXAMPLES[name])
    run = tmp_path / "runs" / "hf"
    kill_at_epoch(tmp_path, "hf.yaml", run, 2)
    finish(tmp_path, "hf.yaml")
    finish(tmp_path, "hf.yaml", "--out", "whole", "--limit", "1")
    killed, [whole] = records(run), records(tmp_path / "whole")
    assert [record["status"] for record in killed] == ["completed"] * 4
    [continued] = [record for record in killed if record["trial_id"] == whole["trial_id"]]
    assert continued["curve"] == whole["curve"]
    for name in ("accuracy", "eval_loss"):
        assert continued["metrics"][name] == whole["metrics"][name]
    assert all([point["epoch"] for point in record["curve"]] == [1, 2, 3, 4, 5] for record in killed)
