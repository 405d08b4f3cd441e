"""Merged table of several runs: one group per run, compared only with its own baseline."""

from __future__ import annotations

import io

import pytest

from results import EXPORTERS, Run, RunPlan, TrialRecord, ablation_table, table_of_runs, write_plan
from results.plan.run_plan import PlannedVariant
from search_space import SpecError


def write_run(directory, name, values, *, metric="top1"):
    """Run of two variants with one seed per value."""
    rows = [("baseline", True), ("wide", False)]
    variants = [PlannedVariant(name=row, variant_id=f"{name}-{row}", is_baseline=first) for row, first in rows]
    plan = RunPlan(sweep=name, design="list", metric=metric, seeds=list(range(len(values[0]))), variants=variants)
    write_plan(directory / name, plan)
    lines = [
        TrialRecord(
            trial_id=f"{name}-{row}-{seed}",
            variant_id=f"{name}-{row}",
            variant=row,
            seed=seed,
            spec={},
            status="completed",
            metrics={metric: value},
        ).model_dump_json()
        for (row, _), column in zip(rows, values, strict=True)
        for seed, value in enumerate(column)
    ]
    (directory / name / "ledger.jsonl").write_text("\n".join(lines) + "\n")
    return Run.open(directory / name)


def test_each_run_keeps_its_own_baseline(tmp_path):
    """First run: 10, 20 -> 12, 22 is +2; second run: 50, 60 -> 49, 59 is -1."""
    runs = [
        write_run(tmp_path, "first", [[10.0, 20.0], [12.0, 22.0]]),
        write_run(tmp_path, "second", [[50.0, 60.0], [49.0, 59.0]]),
    ]
    table = table_of_runs(runs)
    assert [(row.study, row.name, row.delta and row.delta.mean) for row in table.rows] == [
        ("first", "baseline", None),
        ("first", "wide", 2.0),
        ("second", "baseline", None),
        ("second", "wide", -1.0),
    ]


def test_one_run_is_its_own_table(tmp_path):
    run = write_run(tmp_path, "only", [[1.0, 2.0], [3.0, 4.0]])
    assert table_of_runs([run]) == ablation_table(run.plan, run.records)


def test_every_format_shows_all_runs(tmp_path):
    runs = [write_run(tmp_path, name, [[1.0, 2.0], [3.0, 5.0]]) for name in ("alpha", "beta")]
    for name, write in EXPORTERS.items():
        stream = io.StringIO()
        write(table_of_runs(runs), stream)
        assert "alpha" in stream.getvalue(), name
        assert "beta" in stream.getvalue(), name


def test_runs_of_different_metrics_cannot_share_a_table(tmp_path):
    runs = [
        write_run(tmp_path, "accuracy", [[1.0], [2.0]]),
        write_run(tmp_path, "entropy", [[1.0], [2.0]], metric="loss"),
    ]
    with pytest.raises(SpecError, match="metric"):
        table_of_runs(runs)


def test_the_same_run_twice_is_refused(tmp_path):
    run = write_run(tmp_path, "once", [[1.0], [2.0]])
    with pytest.raises(SpecError):
        table_of_runs([run, run])
