"""What was decided after results were seen stays in the plan, and what is taken back does not."""

from __future__ import annotations

import pytest

from results import Run
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import load_sweep_text

pytestmark = pytest.mark.thorough

SWEEP = """
    name: later
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1}
      train: {epochs: 1, batch_size: 512}
    space: {train.lr: LRS}
    design: one_factor
    seeds: SEEDS
    metric: METRIC
    analysis: ANALYSIS
"""


@pytest.fixture
def start(tmp_path):
    """Starts the sweep in the same run directory; returns what was decided later."""

    def start_(seeds="3", lrs="[0.003, 0.002]", metric="top1", analysis="{}", limit=None):
        text = SWEEP.replace("LRS", lrs).replace("SEEDS", seeds).replace("METRIC", metric)
        plan = make_plan(load_sweep_text(text.replace("ANALYSIS", analysis)))
        run_sweep(plan, tmp_path / "run", engine="in-process", limit=limit)
        decided = Run.open(tmp_path / "run").plan.decided_later
        return {each.what: (each.before, each.after, each.num_results) for each in decided}

    return start_


def added(tmp_path):
    return {variant.name: variant.added_after for variant in Run.open(tmp_path / "run").plan.variants}


def test_what_is_planned_before_the_first_result_is_planned(start):
    assert start(limit=1) == {}
    assert start() == {}


def test_seeds_by_looking(start):
    """3, then 4, then 5 seeds: the first plan stays the first plan."""
    assert start("3") == {}
    assert start("4") == {"seeds": ([0, 1, 2], [0, 1, 2, 3], 9)}
    assert start("5") == {"seeds": ([0, 1, 2], [0, 1, 2, 3, 4], 12)}
    assert start("[0, 2, 4]") == {"seeds": ([0, 1, 2], [0, 2, 4], 15)}
    assert start("3") == {}


def test_alpha_correction_and_metric(start):
    assert start() == {}
    changed = start(metric="loss", analysis="{alpha: 0.4, correction: none}")
    assert changed == {
        "metric": ("top1", "loss", 9),
        "analysis.alpha": (0.05, 0.4, 9),
        "analysis.correction": ("holm", "none", 9),
    }
    assert start(metric="loss", analysis="{alpha: 0.4, correction: none}") == changed
    assert start(analysis="{alpha: 0.4}") == {"analysis.alpha": (0.05, 0.4, 9)}


def test_rows_that_are_left_out_and_rows_that_are_added(start, tmp_path):
    assert start() == {}
    assert start(lrs="[0.003, 0.004]") == {"variant lr=0.002": ("lr=0.002", None, 9)}
    assert added(tmp_path) == {"baseline": 0, "lr=0.003": 0, "lr=0.004": 9}
    assert start(lrs="[0.003, 0.004, 0.002]") == {}
    assert added(tmp_path) == {"baseline": 0, "lr=0.003": 0, "lr=0.004": 9, "lr=0.002": 0}


def test_a_plan_that_was_lost(start, tmp_path):
    assert start() == {}
    (tmp_path / "run" / "plan.json").unlink()
    assert start() == {"plan": (None, "later", 9)}


def test_what_a_seed_decides(start):
    """It is in the ids of all rows, so none of the new ones has a result, but the old ones were seen."""
    usual = ["init", "order", "augmentation", "dropout"]
    assert start("3") == {}
    assert start("{values: 3, vary: [init]}") == {"seeds.vary": (usual, ["init"], 9)}
    assert start("{values: 3, vary: [init]}") == {"seeds.vary": (usual, ["init"], 9)}
    assert start("{values: 3, vary: [init, order]}") == {"seeds.vary": (usual, ["init", "order"], 9)}
    assert start("{values: 3}") == {}


def test_what_a_seed_decides_before_the_first_result_is_planned(start):
    assert start("{values: 3, vary: [order]}", limit=1) == {}
    assert start("{values: 3, vary: [order]}") == {}
