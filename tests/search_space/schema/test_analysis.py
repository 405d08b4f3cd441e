"""Section `analysis`: its preconditions, and that it is not part of any identity."""

from __future__ import annotations

import pytest

from search_space import SpecError, load_sweep_text, trial_id

TEXT = """\
name: a
baseline: {task: {dataset: builtin/digits}}
space: {arch.depth: [2, 3]}
design: factorial
metric: top1
"""


@pytest.mark.parametrize(
    ("selection", "message"),
    [("best-val", "'best-val' needs a validation split"), ("ema", "'ema' needs averaged weights")],
)
def test_selection_needs_what_it_selects_from(selection, message):
    with pytest.raises(SpecError) as caught:
        load_sweep_text(TEXT + f"analysis: {{selection: {selection}}}\n", "s.yaml")
    (problem,) = caught.value.problems
    assert (problem.where, problem.message) == ("s.yaml:6:23", message)


def test_selection_is_accepted_with_a_validation_split():
    text = TEXT.replace("dataset: builtin/digits", "dataset: builtin/digits, val_fraction: 0.1")
    assert load_sweep_text(text + "analysis: {selection: best-val}\n").sweep.analysis.selection == "best-val"


def test_analysis_changes_no_identity():
    plain, strict = (
        load_sweep_text(TEXT + section).sweep.baseline.with_seed(0) for section in ("", "analysis: {alpha: 0.01}\n")
    )
    assert trial_id(plain) == trial_id(strict)
