"""Selection rule of a sweep: stated in the caption, applied to every number, never filled from another rule."""

from __future__ import annotations

import pytest

from results import ablation_table
from results.layout.table_layout import table_layout
from search_space.parsing.errors import SpecError

_METRICS = {"top1": 90.0, "loss": 0.4, "val_top1": 88.0, "top1@best_val": 91.0, "loss@best_val": 0.3, "top1@ema": 92.0}


@pytest.mark.parametrize(
    ("selection", "top1", "others", "words"),
    [
        ("last", 90.0, ("loss", "val_top1"), "after the last epoch;"),
        (
            "best-val",
            91.0,
            ("loss",),
            "at the epoch that was best on the validation split, measured on the test split;",
        ),
        ("ema", 92.0, (), "of the moving average of the weights after the last epoch;"),
    ],
)
def test_the_rule_of_the_sweep_decides_and_is_stated(plan, planned, record, selection, top1, others, words):
    chosen = plan(planned("baseline", is_baseline=True), seeds=[0], analysis={"selection": selection})
    table = ablation_table(chosen, [record("baseline", 0, 0.0, metrics=_METRICS)])
    assert table.rows[0].metrics["top1"].mean == top1
    assert table.other_metrics == others
    assert words in table_layout(table).notes()[0]


def test_a_trial_without_the_selected_value_is_an_error(plan, planned, record):
    """It is not filled from the last epoch: the table would compare selection rules."""
    chosen = plan(planned("baseline", is_baseline=True), planned("a"), analysis={"selection": "best-val"})
    records = [record("baseline", seed, 0.0, metrics=_METRICS) for seed in (0, 1, 2)]
    records += [record("a", 0, 95.0), record("a", 1, 95.0), record("a", 2, status="pruned")]
    with pytest.raises(SpecError) as caught:
        ablation_table(chosen, records)
    assert str(caught.value) == (
        "analysis.selection: 'best-val' needs 'top1@best_val' of every completed trial; without it: "
        "a seed 0, a seed 1\n"
        "  hold out a validation split (`task.val_fraction`) and run the trials again, or select `last`"
    )


def test_averaged_weights_are_stated_under_any_rule(plan, planned, record):
    """With `train.ema_decay` a trial evaluates averaged weights; a caption with only `last` would hide that."""
    trial = record("baseline", 0, 90.0, spec={"train": {"ema_decay": 0.99}})
    table = ablation_table(plan(planned("baseline", is_baseline=True), seeds=[0]), [trial])
    assert "after the last epoch, of averaged weights (decay 0.99); builtin/digits" in table_layout(table).notes()[0]


@pytest.mark.parametrize("selection", ["last", "best-val"])
def test_looks_count_the_values_of_the_rule(plan, planned, record, selection):
    """Symptom: with best-val no trial had a value at a look, so that every row was held at the first one."""
    looks = {"looks": [3, 4], "spending": "obf", "stop": "decided"}
    chosen = plan(
        planned("baseline", is_baseline=True),
        planned("a"),
        seeds=[0, 1, 2, 3],
        rounds=looks,
        analysis={"selection": selection},
    )
    records = [
        record(name, seed, 0.0, metrics={"top1": 90.0 + seed + shift * seed, "top1@best_val": 90.0 + seed * shift})
        for name, shift in (("baseline", 1), ("a", 1.1))
        for seed in range(4)
    ]
    assert [(row.num_planned, row.stopped) for row in ablation_table(chosen, records).rows] == [(4, ""), (4, "")]
