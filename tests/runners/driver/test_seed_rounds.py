"""Rounds of seeds in a run: the same trials whether it is interrupted or not, and none beyond those asked for."""

from __future__ import annotations

import json

import pytest

from results import Run, ablation_table
from results.views.status import run_status
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import load_sweep_text

pytestmark = pytest.mark.thorough

SWEEP = """
    name: rounds
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1}
      train: {epochs: 1, batch_size: 512, lr: 0.003}
    space: {train.lr: [0.003, 0.00001, 0.0029], train.weight_decay: [0.05, 0.051]}
    design: one_factor
    seeds: {looks: [3, 4, 6], spending: pocock, futility: {smallest: 5}}
"""


def run(where, limit=None):
    plan = make_plan(load_sweep_text(SWEEP))
    outcome = run_sweep(plan, where, engine="in-process", limit=limit)
    return Run.open(where), outcome


def trained(run: Run) -> set[tuple[str, int]]:
    return {(record.variant, record.seed) for record in run.records}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole") / "run")


def test_rows_stop_and_the_baseline_has_the_seeds_of_the_longest(whole):
    found, outcome = whole
    rows = ablation_table(found.plan, found.records).rows
    numbers = {row.name: row.num_planned for row in rows}
    assert numbers["baseline"] == max(numbers.values())
    assert trained(found) == {(name, seed) for name, number in numbers.items() for seed in range(number)}
    assert all(row.stopped or row.num_planned in (0, numbers["baseline"]) for row in rows)
    assert any(row.stopped for row in rows)
    assert outcome.remaining == 0
    status = run_status(found, now=0.0)
    assert status.is_finished
    assert (status.num_planned, status.num_at_most) == (len(found.records), 24)


@pytest.mark.slow
def test_a_run_in_pieces_trains_the_same(whole, tmp_path):
    """Stopped after every second training: nothing is remembered but the records."""
    for _ in range(20):
        found, outcome = run(tmp_path / "run", limit=2)
        if not outcome.remaining:
            break
    assert trained(found) == trained(whole[0])
    ours, theirs = (ablation_table(each.plan, each.records).rows for each in (found, whole[0]))
    assert [(row.name, row.stopped, row.p, row.verdict) for row in ours] == [
        (row.name, row.stopped, row.p, row.verdict) for row in theirs
    ]


def test_the_looks_are_part_of_the_stored_plan(whole):
    stored = json.loads((whole[0].path / "plan.json").read_text())
    assert stored["rounds"]["looks"] == [3, 4, 6]
    assert stored["seeds"] == [0, 1, 2, 3, 4, 5]
    assert not whole[0].plan.decided_later
