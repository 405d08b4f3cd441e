"""The average over tasks of GLUE: scores by hand, pairing by seed, what is left out and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from results import EXPORTERS, PlannedVariant, Run, RunPlan, TrialRecord, glue_table
from search_space.parsing.errors import SpecError

SEEDS = (0, 1, 2)


def run_of(task: str, values, *, variants=("softmax", "refiner"), mismatched=False, **plan) -> Run:
    """A run whose trials have these metrics, by variant and seed."""
    ids = {name: f"{task}-{name}" for name in variants}
    planned = [PlannedVariant(name=name, variant_id=ids[name], is_baseline=name == "softmax") for name in variants]
    dataset = {"name": f"glue/{task}"} | ({"mismatched": True} if mismatched else {})
    records = tuple(
        TrialRecord(
            trial_id=f"{task}-{name}-{seed}",
            variant_id=ids[name],
            variant=name,
            seed=seed,
            spec={"task": {"name": "text", "dataset": dataset}},
            status="completed",
            metrics=metrics,
        )
        for (name, seed), metrics in values.items()
    )
    return Run(
        Path(f"runs/{task}{mismatched or ''}"),
        RunPlan(
            **{"sweep": f"bert-{task}", "design": "one_factor", "metric": "accuracy", "seeds": list(SEEDS), **plan},
            variants=planned,
            dataset=f"glue/{task}",
        ),
        records,
    )


def runs() -> list[Run]:
    cola = {
        (name, seed): {"mcc": 40.0 + seed + 3 * (name == "refiner"), "accuracy": 99.0}
        for name in ("softmax", "refiner")
        for seed in SEEDS
    }
    mrpc = {
        (name, seed): {"accuracy": 80.0 + seed, "f1": 90.0 + seed + 2 * (name == "refiner")}
        for name in ("softmax", "refiner")
        for seed in SEEDS
    }
    return [run_of("CoLA", cola), run_of("MRPC", mrpc)]


def test_a_task_counts_once_with_the_mean_of_its_metrics():
    """Softmax, seed 0: CoLA 40, MRPC (80 + 90) / 2 = 85, average 62.5; Refiner is 3 and 1 better: 2 on average."""
    table = glue_table(runs())
    softmax, refiner = table.rows
    assert [record.metrics["glue"] for record in softmax.records] == [62.5, 63.5, 64.5]
    assert softmax.metrics["glue"].mean == pytest.approx(63.5)
    assert refiner.metrics["CoLA"].mean == pytest.approx(44.0)
    assert refiner.metrics["MRPC"].mean == pytest.approx(87.0)
    assert refiner.delta is not None
    assert (refiner.delta.mean, len(refiner.delta.differences)) == (pytest.approx(2.0), 3)


def test_the_two_sets_of_mnli_are_one_task():
    def of(value):
        return {(name, seed): {"accuracy": value} for name in ("softmax", "refiner") for seed in SEEDS}

    rte, matched = run_of("RTE", of(60.0)), run_of("MNLI", of(80.0))
    mismatched = run_of("MNLI", of(70.0), mismatched=True)
    table = glue_table([rte, matched, mismatched])
    assert table.rows[0].metrics["glue"].mean == pytest.approx((60 + 75) / 2)
    assert table.rows[0].metrics["MNLI-mm"].mean == pytest.approx(70)


def test_a_trial_that_one_task_lacks_is_missing_in_the_average():
    cola, mrpc = runs()
    table = glue_table([cola, Run(mrpc.path, mrpc.plan, mrpc.records[1:])])
    assert [record.seed for record in table.rows[0].records] == [1, 2]
    assert table.rows[0].num_missing == 1
    assert table.rows[1].delta is not None
    assert len(table.rows[1].delta.differences) == 2


def test_the_table_can_be_written(tmp_path):
    with (tmp_path / "t.md").open("w") as stream:
        EXPORTERS["md"](glue_table(runs()), stream)
    text = (tmp_path / "t.md").read_text()
    assert "GLUE (CoLA, MRPC)" in text
    assert "63.50" in text


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (lambda: [runs()[0]], "is of CoLA, as .*CoLA is"),
        (lambda: [run_of("RTE", {}, variants=("refiner",))], "its baseline is '', that of"),
        (
            lambda: [Run(Path("x"), RunPlan(sweep="x", design="list", metric="accuracy", seeds=[0]), ())],
            "not of a task",
        ),
        (lambda: [run_of("RTE", {}, analysis={"alpha": 0.1})], "its analysis differs"),
    ],
)
def test_runs_that_have_no_average_are_refused(others, message):
    with pytest.raises(SpecError, match=message):
        glue_table([*runs(), *others()])
