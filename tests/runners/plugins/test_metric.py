"""A metric from a file of the user's: what it is refused for, and its way into records, tables and pruning."""

from __future__ import annotations

import csv
import io

import pytest

from results import Run


def test_wrong_metrics_are_refused(type_, example):
    example("worst.yaml")
    wrong = {'"maximize"': '"up"'}
    file = example("my_metric.py", **wrong)
    err = type_("check", "worst.yaml", "--plugin", file, returns=2).stderr
    assert err == (
        f"archsweep: 1 problem\n\n{file}: PLUGINS: the metric 'worst_class' has the direction 'up'\n"
        "  write 'maximize' or 'minimize'\n"
    )
    other = example(
        "my_metric.py", to="other.py", **{'    "metric": {\n        "worst_class"': '    "metric": {\n        "top1"'}
    )
    err = type_("check", "worst.yaml", "--plugin", other, returns=2).stderr
    assert f"{other}: PLUGINS: archsweep has the metric 'top1' itself" in err


def test_a_sweep_may_be_ranked_by_it(type_, example):
    """And by no other name, of which the closest is named."""
    example("worst.yaml")
    file = example("my_metric.py")
    type_("check", "worst.yaml", "--plugin", file)
    example("worst.yaml", to="wrong.yaml", **{"metric: worst_class": "metric: worst_clas"})
    err = type_("check", "wrong.yaml", "--plugin", file, returns=2).stderr
    assert "metric: unknown metric 'worst_clas'" in err
    assert "Did you mean 'worst_class'?" in err


@pytest.mark.slow
def test_records_and_tables_have_it(type_, example):
    """The worst class is at most as good as the mean over the images of all of them."""
    pytest.importorskip("runners.tasks.metrics.predictions", reason="classification keeps no predictions yet")
    path = example(
        "worst.yaml", **{"design: one_factor": "design: one_factor\nprune: {pruner: median, n_startup_trials: 9}"}
    )
    plugin = ["--plugin", example("my_metric.py")]
    type_("run", "worst.yaml", *plugin, "--engine", "ray")
    run = Run.open(path.parent / "runs" / "worst")
    assert [record.status for record in run.records] == ["completed"] * 2, run.records
    for record in run.records:
        assert 0 <= record.metrics["worst_class"] <= record.metrics["top1"]
        assert all("worst_class" in point for point in record.curve)
    # Its unit and direction are in the plan: a table needs no code of the lab.
    assert "worst_class (%)" in type_("table", run.path).stdout
    columns = ["--columns", "variant,worst_class,top1", "--format", "csv"]
    shown = type_("table", run.path, *plugin, *columns).stdout
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert [float(row["worst_class_mean"]) for row in rows] == pytest.approx(
        [record.metrics["worst_class"] for record in run.records]
    )


@pytest.mark.slow
def test_what_its_function_raises_is_in_the_record(type_, example):
    pytest.importorskip("runners.tasks.metrics.predictions", reason="classification keeps no predictions yet")
    path = example("worst.yaml")
    change = "    right = predictions.labels == predictions.answers"
    file = example("my_metric.py", **{"    right = predictions.labels == predictions.predicted": change})
    type_("run", "worst.yaml", "--plugin", file, "--engine", "in-process", returns=3)
    failure = Run.open(path.parent / "runs" / "worst").records[0].failure
    assert failure is not None
    line = file.read_text().splitlines().index(change) + 1
    assert failure.message.startswith("the metric 'worst_class': AttributeError: ")
    assert failure.message.endswith(f"({file}:{line})")
