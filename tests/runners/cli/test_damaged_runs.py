"""Damaged run directories through the verbs: each answers or refuses with a message. See also `benchmarks/fuzz.py`."""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results import read_ledger
from search_space import SpecError

_FILE = Path(__file__).parents[3] / "benchmarks" / "damaged_runs.py"
_spec = importlib.util.spec_from_file_location("damaged_runs", _FILE)
assert _spec is not None
assert _spec.loader is not None
damaged_runs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(damaged_runs)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def runs(directory):
    return damaged_runs.make_runs(directory)


@pytest.mark.slow
@settings(
    max_examples=150, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(seed=st.integers(0, 2**32))
def test_every_verb_answers_or_refuses_with_a_message(runs, directory, seed):
    assert damaged_runs.try_verb(random.Random(seed), runs, directory) == ""


@pytest.mark.thorough
def test_damage_is_seen(runs, directory):
    """The mutations reach what is checked: most ledgers that they change are refused."""
    refused = 0
    for number in range(60):
        broken = directory / "broken"
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(runs[0], broken)
        damaged_runs.damage(broken, random.Random(number))
        try:
            read_ledger(broken / "ledger.jsonl")
        except SpecError:
            refused += 1
    assert refused > 6


@pytest.mark.thorough
@pytest.mark.parametrize("metrics", [{}, {"top1": "NaN"}, {"top1": "Infinity"}])
def test_a_search_goes_on_beside_a_trial_without_a_number(runs, directory, archsweep, metrics):
    """Found by benchmarks/fuzz.py: Optuna refuses a completed trial whose value is none."""
    shutil.rmtree(directory / "numberless", ignore_errors=True)
    shutil.copytree(runs[1], directory / "numberless")
    ledger = directory / "numberless" / "ledger.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert lines[0]["status"] == "completed"
    ledger.write_text(json.dumps({**lines[0], "metrics": metrics}) + "\n")
    command = ["run", "search.yaml", "--engine", "in-process", "-q", "--no-cache", "--out", "numberless"]
    done = archsweep(*command, cwd=directory)
    assert done.returncode == 0, done.stderr
