"""The task `python`: what the user's function is given, and what becomes of what it does."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from runners.training.distributed_trial import run_trial_in_processes
from runners.training.foreign.report import BadReport, UnmeasuredMetric
from search_space import Resources, SpecError, TrialSpec
from search_space.plugins import load_plugin
from search_space.plugins.plugin import LOADED

TRAININGS = """
import json
import random
import numpy as np
import torch

def plain(config, report):
    for epoch in range(1, config["epochs"] + 1):
        report(epoch, acc=config["lr"] * epoch + report.seed)
    return {"acc": np.float32(config["lr"] * config["epochs"] + report.seed), "params_m": 2.5, "extra": torch.tensor(3)}

def given(config, report):
    config["list"].append(9)
    (report.directory / "seen.json").write_text(json.dumps([config, report.device, report.setting["task"]["config"]]))
    return {"acc": random.random() + np.random.rand() + float(torch.rand(()))}

def last_report(config, report):
    report(1, acc=1.0)
    report(2, acc=2.0, other=7)

def swallows(config, report):
    for epoch in range(1, 100):
        try:
            report(epoch, acc=float(epoch))
        except Exception:
            pass

def continues(config, report):
    state = report.directory / "state"
    done = int(state.read_text()) if report.epochs_before else 0
    for epoch in range(done + 1, 6):
        state.write_text(str(epoch))
        report(epoch, acc=10.0 * epoch)
    return {"acc": 50.0}

def ends(config, report):
    exec(config["code"])
    return config["value"]
"""


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "own_trainings.py").write_text(TRAININGS)
    plugin = load_plugin(folder / "own_trainings.py")
    yield plugin
    forget(plugin)


def forget(plugin):
    del LOADED[plugin.name]
    sys.meta_path[:] = [each for each in sys.meta_path if getattr(each, "sources", None) is not plugin.sources]
    for name in plugin.sources:
        sys.modules.pop(name, None)


def spec(function: str, seed: int = 0, **config) -> TrialSpec:
    task = {"name": "python", "function": f"own_trainings:{function}", "config": config}
    return TrialSpec.model_validate({"task": {**task, "measures": {"acc": "maximize"}}, "seed": seed})


def run(trial: TrialSpec, folder, *, stop_at: int | None = None, preempt_at: int | None = None, origin=None):
    points, resumed = [], []

    def report(point):
        points.append(point)
        return point["epoch"] == stop_at

    outcome = run_trial_in_processes(
        trial,
        report=report,
        resources=Resources(),
        directory=folder,
        metric="acc",
        on_resume=resumed.extend,
        is_preempted=lambda: bool(points) and points[-1]["epoch"] == preempt_at,
        **({} if origin is None else {"origin": origin}),
    )
    return outcome, points, resumed


def test_metrics_curve_and_costs(trainings, tmp_path):
    outcome, points, _ = run(spec("plain", seed=3, lr=0.5, epochs=2), tmp_path)
    assert points == [{"epoch": 1, "acc": 3.5}, {"epoch": 2, "acc": 4.0}] == outcome.curve
    assert outcome.metrics == {"acc": 4.0, "extra": 3.0}
    assert outcome.costs == {"params_m": 2.5}
    assert (outcome.status, outcome.epochs, outcome.device) == ("completed", 2, "cpu")


def test_it_may_change_its_configuration_and_knows_where_it_is(trainings, tmp_path):
    trial = spec("given", list=[1, 2], inner={"a": None})
    first, _, _ = run(trial, tmp_path / "1")
    config, device, setting = json.loads((tmp_path / "1" / "work" / "seen.json").read_text())
    assert config == {"list": [1, 2, 9], "inner": {"a": None}}
    assert (device, setting) == ("cpu", {"list": [1, 2], "inner": {"a": None}})
    assert run(trial, tmp_path / "2")[0].metrics == first.metrics  # all generators are seeded
    assert run(spec("given", seed=1, list=[1, 2], inner={"a": None}), tmp_path / "3")[0].metrics != first.metrics


def test_without_a_result_the_last_report_counts(trainings, tmp_path):
    assert run(spec("last_report"), tmp_path)[0].metrics == {"acc": 2.0, "other": 7.0}


def test_a_pruned_training_ends_although_it_catches_exceptions(trainings, tmp_path):
    outcome, points, _ = run(spec("swallows"), tmp_path, stop_at=3)
    assert (outcome.status, len(points), outcome.metrics) == ("pruned", 3, {})


def test_an_interrupted_training_continues_with_its_own_checkpoint(trainings, tmp_path):
    interrupted, _, _ = run(spec("continues"), tmp_path, preempt_at=2)
    assert (interrupted.status, interrupted.epochs) == ("preempted", 2)
    outcome, points, resumed = run(spec("continues"), tmp_path)
    assert [point["epoch"] for point in resumed] == [1, 2]
    assert [point["epoch"] for point in points] == [3, 4, 5]
    assert [point["acc"] for point in outcome.curve] == [10.0, 20.0, 30.0, 40.0, 50.0]


def test_a_checkpoint_that_is_ahead_of_the_reports_is_continued(trainings, tmp_path):
    """As after `kill -9` between writing the checkpoint of epoch 3 and reporting it."""
    run(spec("continues"), tmp_path, preempt_at=2)
    [state] = (tmp_path / "work").iterdir()
    state.write_text(state.read_text().replace("2", "3"))
    outcome, points, _ = run(spec("continues"), tmp_path)
    assert [point["epoch"] for point in points] == [4, 5]
    assert [point["epoch"] for point in outcome.curve] == [1, 2, 4, 5]
    assert (outcome.status, outcome.epochs, outcome.metrics) == ("completed", 5, {"acc": 50.0})


def test_one_that_was_interrupted_behind_its_last_epoch_keeps_its_curve_and_time(trainings, tmp_path):
    first, _, _ = run(spec("continues"), tmp_path, preempt_at=5)
    assert first.status == "preempted"
    outcome, points, resumed = run(spec("continues"), tmp_path)
    assert (points, len(resumed), outcome.metrics) == ([], 5, {"acc": 50.0})
    assert outcome.train_seconds > json.loads((tmp_path / "reported.json").read_text())["seconds"][-1] > 0


def test_a_checkpoint_of_other_code_is_not_continued(trainings, tmp_path):
    from results.plan.stored import Origin

    run(spec("continues"), tmp_path, preempt_at=2, origin=Origin(code="one", software="x"))
    _, points, resumed = run(spec("continues"), tmp_path, origin=Origin(code="two", software="x"))
    assert (resumed, points[0]["epoch"]) == ([], 1)


@pytest.mark.parametrize(
    ("code", "value", "error", "says"),
    [
        ("1 / 0", {"acc": 1}, ZeroDivisionError, "division"),
        ("report(2, acc=1)", {"acc": 1}, BadReport, "first epoch is 2, and must be 1"),
        ("report(1, acc=1); report(1, acc=1)", {"acc": 1}, BadReport, "epoch 1 after epoch 1"),
        ("report(1.0, acc=1)", {"acc": 1}, BadReport, "whole number"),
        ("report(True, acc=1)", {"acc": 1}, BadReport, "whole number"),
        ("report(1, acc='high')", {"acc": 1}, BadReport, "acc must be a number"),
        ("report(1, acc=torch.zeros(2))", {"acc": 1}, BadReport, "one number"),
        ("", 3.0, BadReport, "must return a mapping of metrics, but returned a float"),
        ("", {"acc": True}, BadReport, "must be a number"),
        ("", {"accuracy": 1.0}, UnmeasuredMetric, "gave no 'acc', by which the sweep compares; it gave: accuracy"),
        ("", {"acc": "nan"}, BadReport, "must be a number"),
        ("report(1, acc=float('nan'))", None, UnmeasuredMetric, "acc is nan"),
        ("", None, UnmeasuredMetric, "it gave: none"),
    ],
)
def test_nonsense_is_a_readable_failure(code, value, error, says, trainings, tmp_path):
    with pytest.raises(error, match=says):
        run(spec("ends", code=code, value=value), tmp_path)


def test_numbers_of_numpy_and_torch_are_numbers():
    import torch

    from runners.training.foreign.report import measured_numbers

    given = {"a": np.int64(3), "b": np.float32(0.5), "c": torch.tensor([2.0]), "d": 7}
    assert measured_numbers(given, what="x") == {"a": 3.0, "b": 0.5, "c": 2.0, "d": 7.0}


def test_a_module_that_no_caller_has_allowed_is_not_imported(tmp_path):
    task = {"name": "python", "function": "os:getcwd", "measures": {"acc": "maximize"}}
    with pytest.raises(SpecError, match=r"'os' is no module of a loaded plug-in"):
        run(TrialSpec.model_validate({"task": task}), tmp_path)


def test_a_file_of_a_folder_that_is_no_python_counts_by_its_text(tmp_path):
    from runners.cache.code_version import code_version

    def version(broken):
        (tmp_path / "own_lab" / "template.py").write_text(broken)
        plugin = load_plugin(tmp_path / "own_lab")
        task = {"name": "python", "function": "own_lab:train", "measures": {"acc": "maximize"}}
        try:
            return code_version(TrialSpec.model_validate({"task": task, "seed": 0}))
        finally:
            forget(plugin)

    (tmp_path / "own_lab").mkdir()
    (tmp_path / "own_lab" / "__init__.py").write_text("def train(config, report): return {'acc': 1}")
    one = version("class {{ name }}: 1")
    assert version("class {{ name }}: 1") == one
    assert version("class {{ name }}: 2") != one
