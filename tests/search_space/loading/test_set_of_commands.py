"""`--set` reaches the keys of a program's sweep by the names under which a sweep file writes them."""

from __future__ import annotations

import pytest

from search_space import SpecError, load_sweep

SWEEP = """
name: own
baseline:
  task:
    name: command
    argv: ["{python}", "--lr={lr}", "--seed={seed}"]
    config: {lr: 0.1}
    measures: {acc: {direction: maximize}}
    metrics: {json: result.json}
    progress: {csv: log.csv}
space: {task.config.lr: [0.2]}
design: one_factor
"""


def test_metrics_can_be_set(tmp_path):
    (tmp_path / "own.yaml").write_text(SWEEP)
    sweep = load_sweep(tmp_path / "own.yaml", overrides=["task.metrics={csv: log.csv}"]).sweep
    assert (sweep.baseline.task.results.csv, sweep.baseline.task.results.json_file) == ("log.csv", None)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("task.progress={csv: log.csv, fist_epoch: 0}", "Did you mean 'first_epoch'?"),
        ("task.metrics={csv: log.csv, rov: best}", "known: csv, json, regex, rename, row."),
    ],
)
def test_a_misspelt_key_is_compared_with_those_of_its_own_mapping(tmp_path, given, hint):
    (tmp_path / "own.yaml").write_text(SWEEP)
    with pytest.raises(SpecError) as caught:
        load_sweep(tmp_path / "own.yaml", overrides=[given])
    assert any(hint in problem.hint for problem in caught.value.problems)


def test_a_truth_value_is_no_number_of_an_epoch(tmp_path):
    (tmp_path / "own.yaml").write_text(SWEEP)
    with pytest.raises(SpecError, match="first_epoch"):
        load_sweep(tmp_path / "own.yaml", overrides=["task.progress={csv: log.csv, first_epoch: true}"])
