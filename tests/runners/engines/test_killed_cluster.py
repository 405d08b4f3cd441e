"""Parts of a private cluster are killed during a run: it goes on, or ends with a message, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from results import Run
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import load_sweep

SWEEP = """
name: killed
baseline:
  arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
  task: {name: classification, dataset: builtin/digits}
  train: {epochs: 300, batch_size: 256}
space: {}
design: factorial
seeds: 2
checkpoints: {min_seconds: 0}
"""


WORKER = "ray::(TrialWorker|ResourceTrainable)"  # between two steps, and in one


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
@pytest.mark.parametrize("part", ["raylet/raylet", "gcs_server", "asw-forkserver", WORKER])
def test_the_same_command_goes_on_after_a_part_of_the_cluster_was_killed(tmp_path, processes_below, part):
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    command = [sys.executable, "-m", "runners.cli", "run", "sweep.yaml", "-q", "--no-cache", "--out", "run"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}

    def start(*options):
        return subprocess.Popen([*command, *options], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)

    driver, deadline = start(), time.monotonic() + 300
    progress = tmp_path / "run/progress.jsonl"
    while not (progress.exists() and '"epoch": 3,' in progress.read_text()):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(processes_below(driver.pid, part)[0], signal.SIGKILL)
    try:
        _, words = driver.communicate(timeout=240)
    finally:
        driver.kill()
    assert "Traceback" not in words, words
    for _ in range(3):
        if driver.returncode == 0:
            break
        driver = start("--retry", "failed")  # a trial whose process is lost with its forkserver has failed
        _, words = driver.communicate(timeout=240)
    assert driver.returncode == 0, words
    run = Run.open(tmp_path / "run")
    assert [record.status for record in run.deciding.values()] == ["completed"] * 2
    alone = run_sweep(make_plan(load_sweep(tmp_path / "sweep.yaml")), tmp_path / "alone", engine="in-process")
    assert alone.counts == {"completed": 2}
    expected = {key: record.metrics for key, record in Run.open(tmp_path / "alone").deciding.items()}
    assert {key: record.metrics for key, record in run.deciding.items()} == expected
