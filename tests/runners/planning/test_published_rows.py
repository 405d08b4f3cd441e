"""Published rows in the plan of a run: how they are compared, and that plans of before are as they were."""

from __future__ import annotations

import json

from results import ablation_table
from results.plan.run_plan import RunPlan
from runners.planning.make_plan import make_plan
from search_space import load_sweep_text

TEXT = """
name: a
baseline: {arch: {depth: 1, embed_dim: 8, num_heads: 1, patch_size: 4}, train: {epochs: 1}}
space: {arch.depth: [2, 3]}
design: one_factor
published:
"""
ROW = "  - {{when: {{arch.depth: {}}}, top1: {}, source: a paper{}}}\n"


def planned(rows: str) -> RunPlan:
    return make_plan(load_sweep_text(TEXT + rows)).as_run_plan()


def test_a_plan_with_published_values_is_written_as_before() -> None:
    plan = planned(ROW.format(2, 80.5, ""))
    (row,) = json.loads(plan.model_dump_json())["published"]
    assert row == {"when": {"arch.depth": 2}, "values": {"top1": 80.5}, "source": "a paper"}
    assert RunPlan.model_validate_json(plan.model_dump_json()) == plan


def test_rows_compared_by_order_are_so_in_the_plan_and_in_the_table() -> None:
    of_baseline = "  - {when: {}, top1: 81, source: a paper, compare: order}\n"
    plan = planned(of_baseline + "".join(ROW.format(depth, 80 + depth, ", compare: order") for depth in (2, 3)))
    assert {row["compare"] for row in json.loads(plan.model_dump_json())["published"]} == {"order"}
    table = ablation_table(RunPlan.model_validate_json(plan.model_dump_json()), [])
    assert [[there.values for there in row.order_only] for row in table.rows] == [
        [{"top1": 81.0}],
        [{"top1": 82.0}],
        [{"top1": 83.0}],
    ]
    assert not any(row.published for row in table.rows)
