"""A task from a file of the user's, trained by every engine and by two processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from results import Run


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [["--engine", "in-process"], ["--engine", "ray"], ["--engine", "in-process", "--set", "resources.processes=2"]],
    ids=["in-process", "ray", "two processes"],
)
def test_a_regression_on_digits(type_, example, options):
    """It predicts better than the mean of all digits, whose squared error is their variance, and is ranked by it."""
    path = example("value.yaml")
    type_("run", "value.yaml", "--plugin", example("my_task.py"), *options)
    run = Run.open(path.parent / "runs" / "value")
    assert [record.status for record in run.records] == ["completed"] * 2, run.records
    assert run.plan.metric == "mse"
    digits: Any = load_digits()
    variance = float(np.var(digits.target))
    for record in run.records:
        assert 0 < record.metrics["mse"] < variance


@pytest.mark.slow
def test_its_options_are_checked(type_, example):
    file = example("my_task.py")
    example("value.yaml", **{"scale: 9.0": "scal: -1"})
    err = type_("check", "value.yaml", "--plugin", file, returns=2).stderr
    assert "unknown key 'scal' in task 'digit_value'" in err
    assert "Did you mean 'scale'?" in " ".join(err.split())
    example("value.yaml", to="name.yaml", **{"name: digit_value": "name: digit_valu"})
    err = type_("check", "name.yaml", "--plugin", file, returns=2).stderr
    assert "unknown task 'digit_valu'" in err
    assert "Did you mean 'digit_value'?" in " ".join(err.split())


@pytest.mark.slow
def test_what_a_task_lacks_is_named(type_, example):
    example("value.yaml")
    file = example("my_task.py", **{'name: Literal["digit_value"] = "digit_value"': 'name: Literal["value"] = "value"'})
    err = type_("check", "value.yaml", "--plugin", file, returns=2).stderr
    assert err == (
        f"archsweep: 1 problem\n\n{file}: PLUGINS: the task 'digit_value': its spec has another name\n"
        '  name: Literal["digit_value"] = "digit_value"\n'
    )
