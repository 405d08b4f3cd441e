"""Launch files of sweeps whose training is the user's own: what the caller allows travels with the job."""

from __future__ import annotations

import pytest

from search_space import SpecError

NODE = ("--cpus-per-node", "4", "--time", "1:00:00", "--setup", "true")
COMMAND = """
name: tiny
baseline:
  task:
    name: command
    argv: [sh, train.sh, "{lr}"]
    config: {lr: 1}
    measures: {score: maximize}
    metrics: {json: o.json}
space: {task.config.lr: [2]}
design: one_factor
seeds: 2
"""
PYTHON = """
name: tiny
baseline:
  task: {name: python, function: no_such_plugin:train, config: {lr: 1}, measures: {score: maximize}}
space: {task.config.lr: [2]}
design: one_factor
seeds: 2
"""


@pytest.mark.parametrize("name", ["slurm", "slurm-array"])
def test_a_program_goes_to_a_cluster_only_if_the_caller_allows_it(name, launch):
    with pytest.raises(SpecError, match=r"the job would start a program: sh train\.sh '\{lr\}'"):
        launch(name, *NODE, edit=lambda text: COMMAND)
    assert "--allow-commands" in launch(name, *NODE, "--allow-commands", edit=lambda text: COMMAND)


def test_a_function_that_no_one_has_allowed_is_not_sent_to_a_queue(launch):
    with pytest.raises(SpecError, match="'no_such_plugin' is no module of a loaded plug-in"):
        launch("slurm", *NODE, edit=lambda text: PYTHON)
