"""Runs are looked at where there are no Unix locks: on Windows, where people read reports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[3]
BLOCKED = (
    "import sys; sys.modules['fcntl'] = None\n"
    "from archsweep.__main__ import main\n"
    "sys.argv = ['archsweep', *sys.argv[1:]]; main()"
)
SWEEP = """
name: read
baseline:
  arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
  train: {epochs: 1, batch_size: 512}
space: {arch.depth: [1, 2]}
design: one_factor
seeds: 1
metric: top1
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory, archsweep):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("read")
    (folder / "sweep.yaml").write_text(SWEEP)
    done = archsweep("run", "sweep.yaml", "--engine", "in-process", "--no-cache", "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "verb",
    [
        ["table", "runs/read"],
        ["report", "runs/read", "--output", "report.html"],
        ["ls", "runs/read"],
        ["status", "runs/read"],
        ["diff", "runs/read", "baseline", "depth=2"],
        ["watch", "runs/read", "--once"],
        ["check", "sweep.yaml"],
        ["init", "new.yaml", "--force"],
    ],
    ids=lambda verb: verb[0],
)
def test_verbs_that_read_need_no_fcntl(run, archsweep, verb):
    """Word for word what they print with it, the time of a watch aside."""
    command = [sys.executable, "-c", BLOCKED, *verb]
    env = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1"}  # as `archsweep` has it
    blocked = subprocess.run(command, cwd=run, capture_output=True, text=True, env=env)
    usual = archsweep(*verb, cwd=run)
    assert (blocked.returncode, usual.returncode) == (0, 0), blocked.stderr
    if verb[0] != "watch":
        assert blocked.stdout == usual.stdout


@pytest.mark.slow
def test_a_driver_needs_a_lock_and_says_so(run):
    """No lock is not taken for a free one."""
    verb = ["run", "sweep.yaml", "--engine", "in-process", "--no-cache"]
    done = subprocess.run([sys.executable, "-c", BLOCKED, *verb], cwd=run, capture_output=True, text=True)
    assert done.returncode == 2
    assert "the file system of the run directory gives no lock: fcntl is unavailable" in done.stderr
