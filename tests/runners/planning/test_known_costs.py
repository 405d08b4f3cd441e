"""Costs that are remembered on this machine: the same numbers, of this code only, and never those of a plug-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runners.planning.known_costs import remembered
from runners.planning.make_plan import make_plan
from runners.planning.profiling import activation_mib
from search_space import load_sweep

ROOT = Path(__file__).parents[3]
SWEEP = """
    name: costs
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      task: {name: classification, dataset: builtin/digits}
    space:
      arch.attention: [softmax, refiner]
    design: one_factor
    metric: top1
"""
NUMBERS = """
import sys
from runners.planning.make_plan import make_plan
from runners.planning.profiling import activation_mib
from search_space import load_sweep
plan = make_plan(load_sweep(sys.argv[1]))
for each in plan.variants:
    print(plan.cost_of(each), activation_mib(each.setting, plan.dataset_of(each)))
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHSWEEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entries(cache):
    return sorted((cache / "costs").glob("*/*.json"))


def info_of(write_sweep):
    plan = make_plan(load_sweep(write_sweep(SWEEP)))
    return plan.dataset_of(plan.variants[0])


def in_another_process(path, cache):
    env = {**os.environ, "ARCHSWEEP_CACHE": str(cache), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", NUMBERS, str(path)], env=env, capture_output=True, check=True).stdout


def numbers(path):
    """What the other process prints, of this one."""
    plan = make_plan(load_sweep(path))
    lines = [f"{plan.cost_of(each)} {activation_mib(each.setting, plan.dataset_of(each))}\n" for each in plan.variants]
    return "".join(lines).encode()


def test_another_process_has_the_numbers_of_the_first(write_sweep, cache, monkeypatch):
    path = write_sweep(SWEEP)
    counted = numbers(path)
    assert len(entries(cache)) == 4  # of two variants: cost, and activations
    for entry in entries(cache):  # what is read is what is remembered
        known = json.loads(entry.read_text())
        entry.write_text(json.dumps({name: 2 * value for name, value in known.items()}))
    doubled = in_another_process(path, cache)
    assert doubled == numbers(path) != counted
    monkeypatch.setenv("ARCHSWEEP_CACHE", "off")
    assert numbers(path) == counted


def test_a_changed_option_or_shape_is_another_entry(write_sweep, cache):
    for override in ("arch.depth=1", "arch.depth=2", "task.dataset.name=builtin/shapes"):
        plan = make_plan(load_sweep(write_sweep(SWEEP), overrides=["space={arch.mlp_ratio: [2]}", override]))
        (baseline,) = plan.variants
        activation_mib(baseline.setting, plan.dataset_of(baseline))
    assert len(entries(cache)) == 6


@pytest.mark.parametrize("content", ["", "{", "[]", '{"value": "x"}', '{"value": null}'])
def test_a_damaged_entry_is_counted_again(write_sweep, cache, content):
    info = info_of(write_sweep)
    before = set(entries(cache))
    assert remembered("this", info, lambda: {"value": 1.0}) == {"value": 1.0}
    (entry,) = set(entries(cache)) - before
    entry.write_text(content)
    assert remembered("this", info, lambda: {"value": 2.0}) == {"value": 2.0}
    assert remembered("this", info, lambda: pytest.fail("it is known")) == {"value": 2.0}


def test_nothing_is_remembered_beside_a_plug_in_or_without_a_cache(write_sweep, cache, monkeypatch):
    info = info_of(write_sweep)
    before = entries(cache)
    monkeypatch.setattr("runners.planning.known_costs.loaded_plugins", lambda: ["one"])
    assert [remembered("this", info, lambda value=value: {"value": value})["value"] for value in (1.0, 2.0)] == [1, 2]
    monkeypatch.undo()
    monkeypatch.setenv("ARCHSWEEP_CACHE", "off")
    assert [remembered("this", info, lambda value=value: {"value": value})["value"] for value in (1.0, 2.0)] == [1, 2]
    assert entries(cache) == before
