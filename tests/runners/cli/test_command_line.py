"""The command as a person types it: what it prints, leaves and ends with; a process of its own where that matters."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "archsweep"]
ROOT = Path(__file__).parents[3]
SHIPPED = [path.stem for path in sorted((ROOT / "sweeps").glob("*.yaml"))]
SHIPPED.insert(0, SHIPPED.pop(SHIPPED.index("quickstart")))
SHIPPED += [f"{path.parent.name}/{path.stem}" for path in sorted((ROOT / "sweeps").glob("*/*.yaml"))]


def together(test: Any) -> Any:
    """In one of pytest's processes, so that what these tests share is made once."""
    return pytest.mark.thorough(pytest.mark.xdist_group("command line")(test))


def environment():
    """Read at each call: Ray puts the access to its cluster there when the fixture starts it."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", "NO_COLOR": "1"}


SLOW = """
    name: slow
    baseline:
      arch: {model: vit, depth: 2, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      task: {name: classification, dataset: builtin/digits}
      train: {epochs: 4, batch_size: 64, lr: 0.003}
    space:
      arch.attention: [softmax, reattention]
    design: one_factor
    seeds: 2
    metric: top1
"""

DIVERGING = """
    name: diverging
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      train: {epochs: 1, batch_size: 512, lr: 0.003}
    space: {train.lr: [0.003, 1.0e+30]}
    design: one_factor
    seeds: 1
    metric: top1
"""


def start(*arguments, cwd):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*COMMAND, *map(str, arguments)], cwd=cwd, env=environment(), text=True, **pipes)


def ledger(run_dir: Path):
    path = run_dir / "ledger.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def wait_for_records(run_dir: Path, count: int, process: subprocess.Popen, seconds=300):
    deadline = time.monotonic() + seconds
    while len(ledger(run_dir)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no record in time"
        time.sleep(0.05)


def timeless_table(run_dir: Path):
    """table.csv without what a clock measured."""
    rows = list(csv.DictReader(io.StringIO((run_dir / "table.csv").read_text())))
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]


@pytest.mark.thorough
def test_run_prints_the_table_and_a_second_run_prints_it_again_and_trains_nothing(archsweep, write_sweep, tmp_path):
    path = write_sweep()
    first = archsweep("run", path, "--engine", "in-process", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "attention=groupmix" in first.stdout
    run_dir = tmp_path / "runs" / "tiny"
    names = {path.name for path in run_dir.iterdir()}
    assert {"table.csv", "table.md", "trials.csv", "curves.csv", "ledger.jsonl", "provenance.jsonl"} <= names
    assert len(list(csv.DictReader((run_dir / "table.csv").open()))) == 3
    assert len(list(csv.DictReader((run_dir / "trials.csv").open()))) == 6
    assert len(list(csv.DictReader((run_dir / "curves.csv").open()))) == 12

    before = (run_dir / "ledger.jsonl").read_bytes()
    second = archsweep("run", path, "--engine", "in-process", cwd=tmp_path)
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert (run_dir / "ledger.jsonl").read_bytes() == before


def test_provenance_says_what_was_run(archsweep, write_sweep, tmp_path):
    archsweep("run", write_sweep(), "--engine", "in-process", "--limit", 1, "--set", "train.epochs=1", cwd=tmp_path)
    (session,) = map(json.loads, (tmp_path / "runs/tiny/provenance.jsonl").read_text().splitlines())
    assert session["sweep"]["baseline"]["train"]["epochs"] == 1
    assert session["overrides"] == ["train.epochs=1"]
    assert session["packages"]["torch"]
    assert session["seeds"] == [0, 1]
    assert session["argv"][1:3] == ["run", str(tmp_path / "sweep.yaml")]
    (record,) = ledger(tmp_path / "runs/tiny")
    assert record["session"] == session["session"]


def test_failed_trials_end_with_3_and_run_again_when_asked(archsweep, write_sweep, tmp_path):
    path = write_sweep(DIVERGING)
    first = archsweep("run", path, "--engine", "in-process", cwd=tmp_path)
    assert first.returncode == 3
    assert re.search("NonFiniteLoss: training loss is (nan|inf) in epoch 1", first.stderr)
    assert archsweep("run", path, "--engine", "in-process", cwd=tmp_path).returncode == 3
    assert len(ledger(tmp_path / "runs/diverging")) == 2
    again = archsweep("run", path, "--engine", "in-process", "--retry", "failed", cwd=tmp_path)
    assert again.returncode == 3
    assert [record["attempt"] for record in ledger(tmp_path / "runs/diverging")] == [1, 1, 2]


def test_bad_sweep_ends_with_2_and_leaves_nothing(archsweep, write_sweep, tmp_path):
    done = archsweep("run", write_sweep(reattention="reatention"), cwd=tmp_path)
    assert done.returncode == 2
    assert "sweep.yaml:8:29: space.arch.attention[1]: unknown attention 'reatention'" in done.stderr
    assert "Did you mean 'reattention'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["run", "sweep.yaml", "--profile", "big"], "big"),
        (["run", "sweep.yaml", "--set", "train.epoch=3"], "Did you mean 'train.epochs'?"),
        (["run", "sweep.yaml", "--limit", "0"], "--limit"),
        (["table", "nowhere"], "nowhere"),
        (["status", "."], "."),
        (["run", "sweep.yaml", "--set", "arch.model=vit_tiny_patch16_225"], "Did you mean 'vit_tiny_patch16_224'"),
        (["run", "sweep.yaml", "--set", "train.opt=adamv"], "adamw"),
        (["models", "no_such_model"], "no_such_model"),
        (["run", "sweep.yaml", "--engine", "in-process", "--address", "auto"], "--address"),
        (["fly"], "fly"),
    ],
)
def test_misuse_ends_with_2_and_a_clear_word(archsweep, write_sweep, tmp_path, arguments, said):
    write_sweep()
    done = archsweep(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done
    assert said in " ".join(done.stderr.split())  # long hints are wrapped
    assert "Traceback" not in done.stderr


def test_sweep_without_a_runnable_variant_does_not_end_with_0(archsweep, write_sweep, tmp_path):
    path = write_sweep(**{"metric: top1": 'metric: top1\n    require: ["params_m <= 0.000001"]'.replace("    ", "")})
    done = archsweep("run", path, "--engine", "in-process", cwd=tmp_path)
    assert done.returncode == 2
    assert "params_m <= 1e-06 does not hold" in done.stderr or "params_m <= 0.000001 does not hold" in done.stderr


# Slow, because two clusters start. Of the default run, test_interruption.py holds that the run of a killed driver
# goes on.
@pytest.mark.slow
def test_killed_ray_run_continues_and_leaves_no_trial_behind(archsweep, write_sweep, tmp_path, ray_cluster):
    """The cluster outlives its driver; what the dead driver trained there must end with it. The table is that of a run
    to which nothing happens, digit for digit."""
    path = write_sweep(SLOW)
    assert archsweep("run", path, "--engine", "in-process", "--out", "whole", cwd=tmp_path).returncode == 0
    options = ["--engine", "ray", "--address", ray_cluster, "--out", "parts"]
    options += ["--set", "resources.max_concurrent=1"]  # one worker to start
    process = start("run", path, *options, cwd=tmp_path)
    wait_for_records(tmp_path / "parts", 1, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = len(ledger(tmp_path / "parts"))
    resumed = archsweep("run", path, *options, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    ids = [record["trial_id"] for record in ledger(tmp_path / "parts")]
    assert before < 4, "the run was over before it could be killed"
    assert len(ids) == len(set(ids)) == 4
    assert timeless_table(tmp_path / "parts") == timeless_table(tmp_path / "whole")


@dataclass(frozen=True)
class Visited:
    """A run as other shells saw it while it was alive, how it ended by Ctrl-C, and what the next start made of it."""

    pid: int
    status: Any
    table: Any
    second: Any
    returncode: int
    errors: str
    resumed: Any
    run_dir: Path


def wait_for_a_running_trial(run_dir, process):
    """Until a trial that has no record was started: between two trials, for a moment, there is none."""
    while process.poll() is None:
        started = (run_dir / "progress.jsonl").read_text().count('"event": "start"')
        if started > len((run_dir / "ledger.jsonl").read_text().splitlines()):
            return
        time.sleep(0.01)


def visit(archsweep, folder, *options):
    """Start SLOW, look at it from other shells after its first trial, interrupt it, and resume it."""
    (folder / "sweep.yaml").write_text(textwrap.dedent(SLOW))
    run_dir = folder / "runs" / "slow"
    process = start("run", "sweep.yaml", *options, cwd=folder)
    try:
        wait_for_records(run_dir, 1, process)
        wait_for_a_running_trial(run_dir, process)
        os.kill(process.pid, signal.SIGSTOP)  # it must not be over before it was looked at
        others = [
            archsweep("status", "runs/slow", cwd=folder),
            archsweep("table", "runs/slow", "--format", "csv", cwd=folder),
            archsweep("run", "sweep.yaml", "--engine", "in-process", cwd=folder),
        ]
        process.send_signal(signal.SIGINT)
        os.kill(process.pid, signal.SIGCONT)
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
        process.communicate()
    resumed = archsweep("run", "sweep.yaml", "--engine", "in-process", cwd=folder)
    return Visited(process.pid, *others, process.returncode, errors, resumed, run_dir)


@pytest.fixture(scope="module")
def visited(archsweep, tmp_path_factory):
    return visit(archsweep, tmp_path_factory.mktemp("visited"), "--engine", "in-process")


@together
def test_status_and_table_answer_from_another_shell_during_a_run(visited):
    assert visited.status.returncode == visited.table.returncode == 0
    assert "running" in visited.status.stdout
    assert len(list(csv.DictReader(io.StringIO(visited.table.stdout)))) == 2


@together
def test_second_driver_is_refused_with_a_message(visited):
    assert visited.second.returncode == 2
    assert str(visited.pid) in visited.second.stderr


def assert_ctrl_c_ended_it_and_it_went_on(visited):
    assert visited.returncode == 130, visited.errors
    assert "Traceback" not in visited.errors
    assert "run the same command again to continue" in visited.errors
    assert visited.resumed.returncode == 0
    ids = [record["trial_id"] for record in ledger(visited.run_dir) if record["status"] != "preempted"]
    assert len(ids) == len(set(ids)) == 4


@together
def test_ctrl_c_ends_cleanly_with_130_and_the_run_can_go_on(visited):
    assert_ctrl_c_ended_it_and_it_went_on(visited)


# Slow, because two workers of Ray start. Of the default run, test_interruption.py holds that Ray's trials are saved by
# a signal, and test_private_cluster.py that Ctrl-C ends a run on Ray with 130.
@pytest.mark.slow
def test_ctrl_c_ends_a_run_on_ray_cleanly_too(archsweep, tmp_path, ray_cluster):
    assert_ctrl_c_ended_it_and_it_went_on(visit(archsweep, tmp_path, "--engine", "ray", "--address", ray_cluster))


def test_profile_has_its_own_run_directory(archsweep, tmp_path, write_sweep):
    text = "metric: top1\nprofiles: {smoke: {train.epochs: 1, seeds: 1}}"
    done = archsweep(
        "run", write_sweep(**{"metric: top1": text}), "--profile", "smoke", "--engine", "in-process", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert len(ledger(tmp_path / "runs/tiny-smoke")) == 3


@pytest.mark.thorough
def test_init_writes_a_sweep_that_checks_and_plans(archsweep, tmp_path):
    assert archsweep("init", "mine.yaml", cwd=tmp_path).returncode == 0
    assert archsweep("check", "mine.yaml", cwd=tmp_path).returncode == 0
    planned = archsweep("plan", "mine.yaml", cwd=tmp_path)
    assert planned.returncode == 0
    assert "trials" in planned.stdout
    again = archsweep("init", "mine.yaml", cwd=tmp_path)
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_init_from_copies_a_self_contained_shipped_sweep(archsweep, tmp_path):
    assert archsweep("init", "--from", "deepvit/depth", cwd=tmp_path).stdout == (
        "wrote depth.yaml; next: archsweep plan depth.yaml\n"
    )
    shipped = (ROOT / "sweeps" / "deepvit" / "depth.yaml").read_text().splitlines()
    copied = (tmp_path / "depth.yaml").read_text().splitlines()
    differing = [(ours, theirs) for ours, theirs in zip(copied, shipped, strict=True) if ours != theirs]
    assert differing == [
        (
            "# Copied from the shipped sweep deepvit/depth; `archsweep schema` prints a JSON Schema for your editor.",
            "# yaml-language-server: $schema=../../search_space/sweep.schema.json",
        ),
        ("# Run:       archsweep run depth.yaml", "# Run:       archsweep run sweeps/deepvit/depth.yaml"),
    ]
    assert archsweep("check", "depth.yaml", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_sweep_can_be_copied(archsweep, tmp_path, name):
    assert archsweep("init", "--from", name, "my sweep.yaml", cwd=tmp_path).returncode == 0
    text = (tmp_path / "my sweep.yaml").read_text()
    assert "archsweep run 'my sweep.yaml'" in text
    assert "sweeps/" not in text
    assert "$schema" not in text


def test_init_names_the_shipped_sweeps(archsweep, tmp_path):
    listed = archsweep("init", "--list", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in listed] == SHIPPED
    width = max(map(len, SHIPPED))
    question = "Does it matter which attention mechanism a small ViT uses on 8x8 digits?"
    assert listed[0] == f"{'quickstart':{width}}  {question}"
    done = archsweep("init", "--from", "deepvit/dept", cwd=tmp_path)
    assert done.returncode == 2
    assert "--from: no shipped sweep is called 'deepvit/dept'\n  known: deepvit/alternatives, " in done.stderr
    assert " ".join(done.stderr.split()).endswith("Did you mean 'deepvit/depth'?")
    assert list(tmp_path.iterdir()) == []


def test_plan_lists_dropped_variants_with_their_reason(archsweep, write_sweep, tmp_path):
    path = write_sweep(**{"metric: top1": "metric: top1\nrequire: [\"arch.attention.name != 'groupmix'\"]"})
    done = archsweep("plan", path, cwd=tmp_path)
    assert done.returncode == 0
    assert "arch.attention.name != 'groupmix' does not hold" in " ".join(done.stdout.split())
    assert "2 variants x 2 seeds = 4 trials" in done.stdout


def test_models_lists_mechanisms_and_models(archsweep, tmp_path):
    done = archsweep("models", cwd=tmp_path)
    assert all(name in done.stdout for name in ("softmax", "reattention", "refiner", "groupmix", "expansion = 3.0"))
    assert "vit_tiny_patch16_224" in archsweep("models", "vit_tiny", cwd=tmp_path).stdout.splitlines()
