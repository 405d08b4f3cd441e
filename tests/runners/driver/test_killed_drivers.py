"""kill -9 of the driver in every design, and at the looks of rounds of seeds: the same command goes on to the same end.

The expected trials, values and tables are those of a run that nothing happened to.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest

from results import Run
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import load_sweep
from search_space.schema.design import DesignName

ROOT = Path(__file__).parents[3]
COMMON = """
name: killed
baseline:
  arch: {model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1}
  task:
    name: classification
    dataset: {name: builtin/shapes, img_size: 8, num_train: 64, num_test: 32, in_chans: 1}
  train: {epochs: 1, batch_size: 16, lr: 0.003}
metric: loss
"""
VALUES = "space: {arch.depth: [1, 2], train.lr: [0.003, 0.001], arch.mlp_ratio: [1, 2]}\nseeds: 3\n"
PARTS = """
space:
  deeper: {off: {arch.depth: 1}, on: {arch.depth: 2}}
  wider: {off: {arch.mlp_ratio: 1}, on: {arch.mlp_ratio: 2}}
  slower: {off: {train.lr: 0.003}, on: {train.lr: 0.001}}
seeds: 3
"""
DESIGNS = {
    "factorial": VALUES + "design: factorial\n",
    "one_factor": VALUES + "design: one_factor\n",
    "leave_one_out": PARTS + "design: leave_one_out\n",
    "add_one_in": PARTS + "design: add_one_in\n",
    "cumulative": PARTS + "design: cumulative\n",
    "shapley": PARTS + "design: shapley\n",
    "path": PARTS + "design: path\n",
    "fractional": PARTS + "design: {name: fractional, resolution: 3}\n",
    "zip": VALUES + "design: zip\n",
    "list": "seeds: 4\ndesign: {name: list, rows: [{arch.depth: 2}, {train.lr: 0.001}, {arch.mlp_ratio: 2}]}\n",
    "search": """
space: {arch.depth: [1, 2], train.lr: {min: 0.0005, max: 0.01, log: true}}
design: search
search: {sampler: tpe, num_trials: 10, n_startup_trials: 4, seed: 1}
""",
}


def written(folder: Path, text: str) -> Path:
    (path := folder / "sweep.yaml").write_text(text)
    return path


def whole_run(folder: Path, text: str) -> Run:
    run_sweep(make_plan(load_sweep(written(folder, text))), folder / "whole", engine="in-process")
    return Run.open(folder / "whole")


def killed_run(path: Path, run_dir: Path, records: int, engine: str = "in-process") -> None:
    """A driver of its own, which kill -9 ends once the ledger has so many records."""
    command = [sys.executable, "-m", "runners.cli", "run", str(path), "--out", str(run_dir), "--no-cache", "-q"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen(
        [*command, "--engine", engine], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while num_records(run_dir) < records:
        assert driver.poll() is None, "the driver ended before its moment came"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    driver.kill()
    assert driver.wait() == -signal.SIGKILL


def num_records(run_dir: Path) -> int:
    path = run_dir / "ledger.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def what(run: Run) -> dict[str, tuple]:
    return {each.trial_id: (each.variant, each.seed, each.status, each.metrics, each.curve) for each in run.records}


def table(run: Run) -> list[dict[str, str]]:
    """Without what a clock measures."""
    with (run.path / "table.csv").open() as stream:
        return [{key: cell for key, cell in row.items() if "seconds" not in key} for row in csv.DictReader(stream)]


def assert_same(run: Run, whole: Run) -> None:
    assert len(run.records) == len({each.trial_id for each in run.records}), "a trial has run twice"
    assert what(run) == what(whole)
    assert table(run) == table(whole)


def test_every_design_is_here():
    assert set(DESIGNS) == set(get_args(DesignName))


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("design", DESIGNS)
def test_a_killed_run_of_every_design_goes_on_to_the_same_end(tmp_path, design):
    whole = whole_run(tmp_path, COMMON + DESIGNS[design])
    path, run_dir = tmp_path / "sweep.yaml", tmp_path / "run"
    killed_run(path, run_dir, 2)
    before = Run.open(run_dir).records
    assert 2 <= len(before) < len(whole.records)
    ended = run_sweep(make_plan(load_sweep(path)), run_dir, engine="in-process")
    assert (ended.remaining, ended.interrupted) == (0, False)
    run = Run.open(run_dir)
    assert run.records[: len(before)] == before
    assert_same(run, whole)


LOOKS = """
name: killed
baseline:
  arch: {model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1}
  train: {epochs: 2, batch_size: 128, lr: 0.01}
space: {train.lr: [0.01, 0.00001, 0.009, 0.011, 0.003], arch.mlp_ratio: [1, 2]}
design: one_factor
seeds: {looks: [3, 4, 6, 8], spending: pocock, futility: 1.5 SD}
metric: loss
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Three looks: rows that are worse, better and futile, and 17 of 48 trials are never asked for."""
    run = whole_run(tmp_path_factory.mktemp("whole"), LOOKS)
    assert {row["stopped"] for row in table(run)} == {"", "decided", "futile"}
    assert {row["seeds_planned"] for row in table(run)} == {"3", "4", "6"}
    return run


@pytest.mark.slow
@pytest.mark.thorough
def test_a_driver_that_is_killed_at_every_look_decides_the_same(whole, tmp_path):
    """Before the first look, at its last record, and between the second and the third."""
    path, run_dir = written(tmp_path, LOOKS), tmp_path / "run"
    for records in (4, 18, 26):
        killed_run(path, run_dir, records)
    assert num_records(run_dir) < len(whole.records)
    run_sweep(make_plan(load_sweep(path)), run_dir, engine="in-process")
    assert_same(Run.open(run_dir), whole)


@pytest.mark.slow
@pytest.mark.ray
def test_a_driver_that_is_killed_on_ray_decides_the_same(whole, ray_cluster, tmp_path):
    path, run_dir = written(tmp_path, LOOKS), tmp_path / "run"
    killed_run(path, run_dir, 19, engine="ray")
    assert num_records(run_dir) < len(whole.records)
    run_sweep(make_plan(load_sweep(path)), run_dir, engine="ray")
    assert_same(Run.open(run_dir), whole)


@pytest.mark.slow
def test_two_workers_of_ray_decide_as_one_process_does(whole, ray_cluster, tmp_path):
    """Results come in another order there, and rows that wait for nothing go on before others have their look."""
    run_sweep(make_plan(load_sweep(written(tmp_path, LOOKS))), tmp_path / "run", engine="ray")
    assert_same(Run.open(tmp_path / "run"), whole)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_pruned_trial_holds_its_row_whether_the_driver_is_killed_or_not(tmp_path):
    """A loss of 2.27 after the first epoch is exceeded by the two rows that hardly learn (2.29), by no other (2.26)."""
    text = LOOKS + "prune: {pruner: threshold, upper: 2.27}\n"
    whole = whole_run(tmp_path, text)
    rows = {row["variant"]: row for row in table(whole)}
    for row in (rows.pop("lr=1e-05"), rows.pop("lr=0.003")):
        assert (row["stopped"], row["seeds_pruned"], row["verdict"]) == ("held", "3", "incomplete")
    assert {row["stopped"] for row in rows.values()} == {"", "decided", "futile"}
    killed_run(tmp_path / "sweep.yaml", tmp_path / "run", 19)
    run_sweep(make_plan(load_sweep(tmp_path / "sweep.yaml")), tmp_path / "run", engine="in-process")
    assert_same(Run.open(tmp_path / "run"), whole)
