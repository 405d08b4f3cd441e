"""Progress of a running sweep on a terminal and in a log: values have the name of the split they were measured on."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from results import TrialRecord
from runners.display.live import LiveView, TrialLines
from runners.display.tally import Tally


def record(variant, metrics):
    fields = {"trial_id": variant, "variant_id": variant, "variant": variant, "seed": 0, "spec": {}}
    return TrialRecord.model_validate({**fields, "status": "completed", "metrics": metrics, "epochs": 1})


def test_a_trial_that_is_trained_again_counts_once():
    """After `--retry failed` the lines had numbers such as [5/4]."""
    failed = record("a", {}).model_copy(update={"status": "failed"})
    tally = Tally(2, {"a": failed, "b": record("b", {"top1": 50.0})}, "top1")
    assert (tally.done, tally.counts["failed"]) == (2, 1)
    tally.end(record("a", {"top1": 60.0}))
    assert (tally.done, tally.counts["failed"], tally.counts["completed"]) == (2, 0, 2)


def assignment(variant):
    spec = SimpleNamespace(seed=0, num_epochs=2)
    return SimpleNamespace(trial_id=variant, variant=SimpleNamespace(name=variant), spec=spec, trained_by="")


@pytest.mark.parametrize(
    ("metrics", "shown"),
    [({"top1": 61.0}, "top1=61.00 %"), ({"top1": 61.0, "val_top1": 72.0}, "val_top1=72.00 %")],
)
def test_a_line_names_the_split_of_its_value(metrics, shown):
    out = io.StringIO()
    lines = TrialLines(Console(file=out, width=200), planned=lambda: 1, earlier={}, metric="top1")
    lines.on_trial_end(None, record("a", metrics))
    assert out.getvalue() == f"[1/1]  completed  a  seed=0  {shown}\n"


def test_the_live_view_names_the_split_of_its_values():
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True, color_system=None)
    with LiveView(console, title="t", planned=lambda: 3, earlier={}, metric="top1") as view:
        view.on_trial_end(assignment("a"), record("a", {"top1": 61.0, "val_top1": 72.0}))
        view.on_trial_start(assignment("b"))
        view.on_epoch_end(assignment("b"), {"epoch": 1, "top1": 50.0, "val_top1": 40.0})
    assert "best so far: val_top1 72.00 %  a, seed 0" in out.getvalue()
    (head, row) = [line.split() for line in out.getvalue().splitlines() if "worker" in line or "1/2" in line][-2:]
    assert head == ["worker", "variant", "seed", "epoch", "val_top1"]
    assert row == ["0", "b", "0", "1/2", "40.00", "%"]


def test_of_trials_with_and_without_a_validation_split_each_value_is_named():
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True, color_system=None)
    with LiveView(console, title="t", planned=lambda: 3, earlier={}, metric="top1") as view:
        for name, metrics in (("a", {"top1": 50.0, "val_top1": 40.0}), ("b", {"top1": 60.0})):
            view.on_trial_start(assignment(name))
            view.on_epoch_end(assignment(name), {"epoch": 1, **metrics})
    assert "val_top1 40.00 %" in out.getvalue()
    assert "top1 60.00 %" in out.getvalue()


def test_trials_that_are_measured_in_one_training_are_running_on_one_worker():
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True, color_system=None)
    with LiveView(console, title="t", planned=lambda: 3, earlier={}, metric="top1") as view:
        for name, trained_by in (("a", ""), ("b", "a"), ("c", "")):
            view.on_trial_start(SimpleNamespace(**{**vars(assignment(name)), "trained_by": trained_by}))
    assert "3 running" in out.getvalue()
    rows = [line.split()[:2] for line in out.getvalue().splitlines() if "0/2" in line][-3:]
    assert rows == [["0", "a"], ["0", "b"], ["1", "c"]]
