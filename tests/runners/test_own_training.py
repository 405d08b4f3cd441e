"""A training of the user's own from the command line: on Ray, its table, its tables later without the code."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys

import pytest

from search_space.plugins.plugin import LOADED

TRAIN = """
def train(config, report):
    value = 0.0
    for epoch in range(1, config["epochs"] + 1):
        value = config["net"]["width"] * epoch + 0.1 * report.seed
        report(epoch, score=value)
    if config["net"]["width"] == 13:
        raise RuntimeError("unlucky")
    return {"score": value, "params_m": 0.5 * config["net"]["width"]}
"""
THREADS = """
import numpy
from threadpoolctl import threadpool_info

def train(config, report):
    threads = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
    for epoch in range(1, config["epochs"] + 1):
        report(epoch, score=float(min(threads)))
    return {"score": float(min(threads))}
"""
CONFIG = """
from dataclasses import dataclass

@dataclass
class Net:
    width: int

@dataclass
class Config:
    epochs: int
    net: Net
"""
SWEEP = """
name: own
baseline:
  task:
    name: python
    function: my_train:train
    config: {epochs: 3, net: {width: 2}}
    measures: {score: {direction: maximize, unit: points, decimals: 2}}
    epochs: 3
space: {task.config.net.width: [4, 13]}
design: one_factor
seeds: 3
"""
SCRIPT = """
echo "epoch 1 score $1"
echo "{\\"score\\": $(($1 * 10 + $2))}" > out.json
"""


def in_a_process(folder, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "archsweep", *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "my_train.py").write_text(TRAIN)
    (tmp_path / "own.yaml").write_text(SWEEP)
    return tmp_path


def rows(path) -> dict[str, dict[str, str]]:
    with open(path, newline="") as stream:
        return {row["variant"]: row for row in csv.DictReader(stream)}


@pytest.mark.slow
def test_a_function_on_ray(folder):
    said = in_a_process(folder, "run", "own.yaml", "--plugin", "my_train.py", "--no-cache", code=3)
    assert "the user's own code" in said
    found = rows(folder / "runs" / "own" / "table.csv")
    # 4 * 3 + 0.1 * seed against 2 * 3 + 0.1 * seed: every difference is 6
    assert float(found["width=4"]["score_mean"]) == pytest.approx(12.1)
    assert float(found["width=4"]["score_delta"]) == pytest.approx(6.0)
    assert float(found["width=4"]["params_m"]) == 2.0
    ledger = [json.loads(line) for line in (folder / "runs" / "own" / "ledger.jsonl").read_text().splitlines()]
    failed = [record["failure"] for record in ledger if record["status"] == "failed"]
    assert {failure["message"] for failure in failed} == {"unlucky"}
    assert all("my_train.py" in failure["traceback"] for failure in failed)
    # Later, and without the code: the plan knows unit and direction.
    (folder / "my_train.py").unlink()
    assert "score (points)" in in_a_process(folder, "table", "runs/own", "--format", "md")
    in_a_process(folder, "report", "runs/own")


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a trial takes two CPUs")
def test_a_function_on_ray_computes_with_the_cpus_of_its_trial(folder):
    """NumPy has one thread in the process that trials are forked from."""
    (folder / "my_train.py").write_text(THREADS)
    plain = ("--no-cache", "--limit", "1", "--set", "resources.cpus=2")
    in_a_process(folder, "run", "own.yaml", "--plugin", "my_train.py", *plain)
    (line,) = (folder / "runs" / "own" / "ledger.jsonl").read_text().splitlines()
    assert json.loads(line)["metrics"]["score"] == 2


@pytest.mark.slow
def test_other_code_is_not_mixed(folder):
    common = ("run", "own.yaml", "--plugin", "my_train.py", "--no-cache", "--engine", "in-process")
    in_a_process(folder, *common, "--limit", "2")
    (folder / "my_train.py").write_text(TRAIN.replace("0.1 *", "0.2 *"))
    said = in_a_process(folder, *common, code=2)
    assert "--changed retrain" in said
    (folder / "my_train.py").write_text(TRAIN + "\n# only a remark\n")
    in_a_process(folder, *common, code=3)


@pytest.fixture
def forgets_plugins():
    """Takes out of this process what a test has loaded into it."""
    yield
    for plugin in [each for each in LOADED.values() if each.name == "my_train"]:
        del LOADED[plugin.name]
        sys.meta_path[:] = [each for each in sys.meta_path if getattr(each, "sources", None) is not plugin.sources]
    sys.modules.pop("my_train", None)


def test_check_looks_at_the_function_as_plan_does(folder, archsweep, forgets_plugins):
    (folder / "my_train.py").write_text(f"{CONFIG}{TRAIN}")
    schema = SWEEP.replace("function:", "schema: my_train:Config\n    function:")
    sweeps = {
        "own": (SWEEP, "no module of a loaded plug-in", "--plugin my_train.py"),
        "function": (SWEEP.replace("my_train:train", "my_train:trian"), "my_train has no 'trian'", "'train'"),
        "baseline": (
            schema.replace("width: 2", "wdth: 2").replace("net.width", "net.wdth"),
            "has no 'wdth'",
            "'width'",
        ),
        "space": (
            schema.replace("[4, 13]", "[4, wide]"),
            "must be a valid integer, unable to parse string as an integer, but got 'wide'",
            "task.config.net.width",
        ),
    }
    for name, (text, *_) in sweeps.items():
        (folder / f"{name}.yaml").write_text(text)

    def said_by(verb: str, name: str, *options: str) -> str:
        ended = archsweep(verb, f"{name}.yaml", *options, cwd=folder)
        return ended.stderr if ended.returncode == 2 else f"returned {ended.returncode}"

    for name, (_, *words) in sweeps.items():
        allowed = () if name == "own" else ("--plugin", "my_train.py")
        checked = said_by("check", name, *allowed)
        assert all(word in checked for word in words), checked
        assert said_by("plan", name, *allowed) == checked
    assert said_by("check", "own", "--plugin", "my_train.py") == "returned 0"


def test_the_plan_names_all_that_is_missing(folder, archsweep):
    task = "{name: command, argv: [sh, a.sh], cwd: gone, files: [a.csv, b.csv], measures: {score: maximize}, "
    text = f"name: cmd\nbaseline:\n  task: {task}metrics: {{json: out.json}}}}\ndesign: {{name: list, rows: [{{}}]}}\n"
    (folder / "cmd.yaml").write_text(text)
    said = archsweep("plan", "cmd.yaml", cwd=folder).stderr
    for path, what in (("files", "file: .*/a.csv"), ("files", "file: .*/b.csv"), ("cwd", "folder: .*/gone")):
        assert re.search(rf"^cmd.yaml:3:\d+: baseline.task.{path}: no such {what}$", said, re.MULTILINE), said


def test_a_program_runs_only_if_the_caller_allows_it(folder, archsweep):
    def type_(*arguments, code=0):
        ended = archsweep(*arguments, cwd=folder)
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    (folder / "train.sh").write_text(SCRIPT)
    task = """{name: command, argv: [sh, train.sh, "{lr}", "{seed}"], config: {lr: 1},
    measures: {score: maximize}, metrics: {json: out.json}}"""
    text = f"name: cmd\nbaseline:\n  task: {task}\nspace: {{task.config.lr: [2]}}\ndesign: one_factor\nseeds: 2\n"
    (folder / "cmd.yaml").write_text(text)
    common = ("run", "cmd.yaml", "--no-cache", "--engine", "in-process")
    said = type_(*common, code=2)
    assert "the sweep would start a program on this machine: sh train.sh '{lr}' '{seed}'" in said
    assert not (folder / "runs").exists()
    planned = json.loads(type_("plan", "cmd.yaml", "--json"))
    assert [row["name"] for row in planned["plans"][0]["variants"]] == ["baseline", "lr=2"]
    type_(*common, "--allow-commands")
    found = rows(folder / "runs" / "cmd" / "table.csv")
    assert float(found["lr=2"]["score_mean"]) == 20.5
    assert float(found["lr=2"]["score_delta"]) == 10.0
    (folder / "train.sh").write_text(SCRIPT + "# changed\n")
    said = type_(*common, "--allow-commands", "--set", "seeds=3", code=2)
    assert "the files that argv names changed" in said
    assert "--changed retrain" in said
