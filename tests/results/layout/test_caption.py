"""Caption and footnotes of a table: retuning, reused trials, dropped variants, seeds."""

from __future__ import annotations

import pytest

from results import ablation_table
from results.layout.caption import caption
from results.layout.footnotes import footnotes


@pytest.fixture
def table(plan, planned, record):
    def build(*, retuned=None, cached=(), dropped=()):
        variants = [planned("baseline", is_baseline=True), planned("wide"), *dropped]
        records = [
            record(name, seed, 90.0 + seed, cached_from="runs/earlier" if (name, seed) in cached else "")
            for name in ("baseline", "wide")
            for seed in range(3)
        ]
        return ablation_table(plan(*variants, retuned=retuned), records)

    return build


def texts(table):
    return [sentence.text for sentence in caption(table)]


def test_caption_states_retuning(table):
    retuned = {"parameters": ["train.lr", "train.weight_decay"], "num_trials": 8, "seeds": [100, 101], "sampler": "tpe"}
    expected = (
        "Every arm is tuned to its own optimum of train.lr, train.weight_decay: at most 8 settings per arm "
        "(tpe, seeds 100, 101, which are not reported)."
    )
    assert expected in texts(table(retuned=retuned))
    assert not any("optimum" in text for text in texts(table()))


@pytest.mark.parametrize(
    ("tried", "seeds", "expected"),
    [
        (
            (6, 6),
            [100, 101],
            "the best of 6 settings (12 trials) per arm (random, seeds 100, 101, which are not reported).",
        ),
        (
            (6, 1),
            [100],
            "the best of the different settings tried: 6 settings (6 trials) for baseline; "
            "1 setting (1 trial) for wide (random, seed 100, which is not reported).",
        ),
    ],
)
def test_caption_counts_the_settings_that_were_really_tried(plan, planned, record, tried, seeds, expected):
    """The budget is 8, but a space of six values has six settings."""
    retuned = {"parameters": ["train.lr"], "space": {"train.lr": "0.1 | 0.2"}, "num_trials": 8, "sampler": "random"}
    variants = [planned("baseline", is_baseline=True, num_tried=tried[0]), planned("wide", num_tried=tried[1])]
    table = ablation_table(plan(*variants, retuned={**retuned, "seeds": seeds}), [record("baseline", 0, 90.0)])
    assert f"Every arm is tuned to its own optimum of train.lr (0.1 | 0.2): {expected}" in texts(table)


def test_trials_that_were_not_trained_again_are_counted(table):
    notes = footnotes(table(cached={("baseline", 0), ("baseline", 1)}))
    assert "2 trials not trained again but taken over from runs/earlier." in notes
    assert not any("taken over" in note for note in footnotes(table()))


def test_names_with_commas_are_separated_by_semicolons(table, planned):
    dropped = [planned("depth=1, heads=3", dropped="too small"), planned("depth=2, heads=3", dropped="too small")]
    notes = footnotes(table(dropped=dropped))
    assert "Dropped before training: depth=1, heads=3; depth=2, heads=3: too small" in notes
    plain = [planned("depth=1", dropped="too small"), planned("depth=2", dropped="too small")]
    assert "Dropped before training: depth=1, depth=2: too small" in footnotes(table(dropped=plain))


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        (range(20), "planned: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19)"),
        (range(7, 28), "planned: 7 to 27)"),
        ([0, *range(2, 22)], "planned: 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21)"),
    ],
)
def test_many_consecutive_seeds_are_abbreviated(plan, planned, seeds, expected):
    first, *_ = texts(ablation_table(plan(planned("baseline", is_baseline=True), seeds=list(seeds)), []))
    assert expected in first
