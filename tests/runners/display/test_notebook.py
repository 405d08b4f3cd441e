"""Progress in a notebook: its HTML has the state, and names are text."""

from __future__ import annotations

from types import SimpleNamespace
from xml.etree import ElementTree

from results import TrialRecord
from runners.display.notebook import NotebookView, in_notebook


def record(variant, **fields):
    base = {"trial_id": variant, "variant_id": variant, "variant": variant, "seed": 0, "spec": {}}
    return TrialRecord.model_validate({**base, "status": "completed", "metrics": {"top1": 61.0}, **fields})


def assignment(variant):
    spec = SimpleNamespace(seed=3, train=SimpleNamespace(epochs=2))
    return SimpleNamespace(trial_id=variant, variant=SimpleNamespace(name=variant), spec=spec, trained_by="")


def texts(view):
    """Text of the lines, as a browser would read them."""
    root = ElementTree.fromstring(view.html().replace("<br>", "<br/>"))
    assert {element.tag for element in root.iter()} <= {"div", "b", "progress", "br"}
    return " ".join(" ".join(root.itertext()).split()), root.find("progress").attrib


def test_it_shows_counts_the_best_trial_and_running_ones():
    view = NotebookView(title="tiny", planned=lambda: 4, earlier={}, metric="top1")
    view.on_trial_start(assignment("a"))
    view.on_trial_end(assignment("a"), record("a"))
    view.on_trial_start(assignment("b"))
    view.on_epoch_end(assignment("b"), {"epoch": 1, "top1": 50.0})
    shown, bar = texts(view)
    assert bar == {"max": "4", "value": "1"}
    assert "tiny 1/4 trials" in shown
    assert "1 running 1 completed best so far: top1 61.00 % a, seed 0" in shown
    assert "running: b, seed 3, epoch 1/2, top1 50.00 %" in shown


def test_names_are_text_and_many_trials_are_counted():
    view = NotebookView(title="<script>alert(1)</script>", planned=lambda: 40, earlier={}, metric="top1")
    for number in range(20):
        view.on_trial_start(assignment(f"<b>{number}</b>\x1b[2J"))
    shown, _ = texts(view)
    assert "<script>alert(1)</script>" in shown
    assert "running: <b>0</b>\\x1b[2J, seed 3" in shown
    assert shown.endswith("and 4 more")


def test_a_test_is_no_notebook():
    assert not in_notebook()
