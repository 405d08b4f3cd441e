"""Caption and footnotes of a table: retuning, reused trials, dropped variants, seeds."""

from __future__ import annotations

import pytest

from results import ablation_table
from results.layout.caption import caption
from results.layout.footnotes import footnotes
from results.layout.table_layout import table_layout
from results.table.merge import merged_table


@pytest.fixture
def table(plan, planned, record):
    def build(*, retuned=None, cached=(), dropped=(), **fields):
        variants = [planned("baseline", is_baseline=True), planned("wide"), *dropped]
        records = [
            record(name, seed, 90.0 + seed, cached_from="runs/earlier" if (name, seed) in cached else "")
            for name in ("baseline", "wide")
            for seed in range(3)
        ]
        return ablation_table(plan(*variants, retuned=retuned, **fields), records)

    return build


def texts(table):
    return [sentence.text for sentence in caption(table)]


def test_caption_states_retuning(table):
    retuned = {"parameters": ["train.lr", "train.weight_decay"], "num_trials": 8, "seeds": [100, 101], "sampler": "tpe"}
    expected = (
        "Every arm is tuned to its own optimum of train.lr, train.weight_decay: at most 8 settings per arm "
        "(tpe, seeds 100, 101, which are not reported), by val_top1. Differences are conditional on the settings "
        "found: the variance of the tuning is in no interval."
    )
    assert expected in texts(table(retuned=retuned))
    assert not any("optimum" in text for text in texts(table()))


@pytest.mark.parametrize(
    ("tried", "seeds", "expected"),
    [
        (
            (6, 6),
            [100, 101],
            "the best of 6 settings (12 trials) per arm (random, seeds 100, 101, which are not reported), by val_top1.",
        ),
        (
            (6, 1),
            [100],
            "the best of the different settings tried: 6 settings (6 trials) for baseline; "
            "1 setting (1 trial) for wide (random, seed 100, which is not reported), by val_top1.",
        ),
    ],
)
def test_caption_counts_the_settings_that_were_really_tried(plan, planned, record, tried, seeds, expected):
    """The budget is 8, but a space of six values has six settings."""
    retuned = {"parameters": ["train.lr"], "space": {"train.lr": "0.1 | 0.2"}, "num_trials": 8, "sampler": "random"}
    variants = [planned("baseline", is_baseline=True, num_tried=tried[0]), planned("wide", num_tried=tried[1])]
    table = ablation_table(plan(*variants, retuned={**retuned, "seeds": seeds}), [record("baseline", 0, 90.0)])
    (found,) = [text for text in texts(table) if "optimum" in text]
    assert found.startswith(f"Every arm is tuned to its own optimum of train.lr (0.1 | 0.2): {expected} ")


def test_trials_that_were_not_trained_again_are_counted(table):
    notes = footnotes(table(cached={("baseline", 0), ("baseline", 1)}))
    assert "2 trials not trained again but taken over from runs/earlier." in notes
    assert not any("taken over" in note for note in footnotes(table()))


def test_a_training_that_trials_share_is_counted_once(plan, planned, record):
    """Trials of 3,600 s: b was measured in the training of a; c in one of a trial that is not in the table."""
    rows = (("a", ""), ("b", "id-a"), ("c", "elsewhere"))
    records = [
        record(name, 0, 90.0, train_seconds=3600.0, trained_by=by).model_copy(update={"trial_id": f"id-{name}"})
        for name, by in rows
    ]
    variants = [planned(name, is_baseline=name == "a") for name, _ in rows]
    found = texts(ablation_table(plan(*variants, seeds=[0]), records))
    assert any("Compute: 2 h of optimisation in all (3 trials, 2 trainings)" in text for text in found)


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


def test_caption_names_the_false_discovery_rate(table, plan, planned, record):
    """A share of the claims, not the chance of one: stars are q-values, and a verdict says so."""
    variants = [planned("baseline", is_baseline=True), planned("wide")]
    records = [record("baseline", seed, 90.0 + seed) for seed in range(3)]
    records += [record("wide", seed, 92.0 + seed + 0.1 * seed**2) for seed in range(3)]
    found = ablation_table(plan(*variants, analysis={"correction": "bh"}), records)
    expected = (
        "Verdict: two-sided paired t-test on those differences, taken as normal, corrected after Benjamini and "
        "Hochberg for 1 arm, which bounds the false discovery rate (5 % of the claims, on average); * q < 0.05, "
        "** q < 0.01, *** q < 0.001; inconclusive does not mean equal."
    )
    assert expected in texts(found)
    verdicts = next(column for column in table_layout(found).columns if column.header == "verdict")
    assert [str(cell) for cell in verdicts.cells] == ["", "better (FDR)"]
    assert [row.verdict for row in found.rows] == [None, "better"]


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        (
            {"num_test_images": 10_000},
            ": of 10000 images, which give an accuracy of 91.00 % a standard error of 0.29 %.",
        ),
        ({}, "."),
    ],
)
def test_caption_states_what_intervals_cover_and_the_error_of_the_test_set(table, fields, end):
    """sqrt(91 * 9 / 10000) = 0.286 %; without a known number of images nothing is claimed."""
    text = "Intervals cover the choice of the training seeds for this fixed test set, not that of other test images"
    assert text + end in texts(table(**fields))


def test_a_loss_has_no_binomial_error(plan, planned, record):
    variants = [planned("baseline", is_baseline=True), planned("wide")]
    records = [
        record(name, seed, 0.0, metrics={"loss": 0.5 + 0.1 * seed})
        for name in ("baseline", "wide")
        for seed in range(3)
    ]
    found = ablation_table(plan(*variants, metric="loss", num_test_images=100), records)
    assert not any("standard error" in text for text in texts(found))


@pytest.mark.parametrize(
    ("analysis", "expected"),
    [
        (
            {"margin": 0.5},
            "= equivalent: two one-sided t-tests (TOST) against \u00b10.5 %, the margin stated in the sweep; p < 0.05, "
            "corrected together with the p-values of the differences.",
        ),
        (
            {"margin": 0.5, "correction": "none", "alpha": 0.01},
            "= equivalent: two one-sided t-tests (TOST) against \u00b10.5 %, the margin stated in the sweep; p < 0.01, "
            "not corrected for the number of arms.",
        ),
        (
            {"margin": 0.5, "correction": "dunnett"},
            "= equivalent: the simultaneous 95 % interval of Dunnett's test is within \u00b10.5 %, the margin stated "
            "in the sweep.",
        ),
    ],
)
def test_caption_states_how_equivalence_is_tested(table, analysis, expected):
    assert expected in texts(table(analysis=analysis))


def test_several_runs_are_no_family(table, tmp_path):
    merged = merged_table([table(), table(sweep="other")], [tmp_path / "a", tmp_path / "b"])
    (verdict,) = (text for text in texts(merged) if text.startswith("Verdict"))
    assert "corrected after Holm for 1 arm of each run and not for the table as a whole; " in verdict


@pytest.mark.parametrize(("val_fraction", "is_said"), [(0, True), (0.1, False)])
def test_pruning_by_the_test_split_is_said(plan, planned, record, val_fraction, is_said):
    records = [
        record(name, 0, None, status="pruned", epochs=1, spec={"task": {"val_fraction": val_fraction}})
        for name in ("baseline", "wide")
    ]
    notes = footnotes(ablation_table(plan(planned("baseline", is_baseline=True), planned("wide"), seeds=[0]), records))
    assert any(note.endswith(" The pruner looked at the test split.") for note in notes) == is_said


def test_a_search_on_the_test_split_is_optimistic(plan, record):
    records = [record(f"t{n}", 0, 90.0 + n, number=n) for n in range(3)]
    notes = footnotes(ablation_table(plan(design="search", seeds=[0]), records))
    assert (
        "Rows come from a search, the best top1 first. They were selected on the test split, so the best values are "
        "too good."
    ) in notes
    held_out = [
        record(f"t{n}", 0, 90.0 + n, number=n, metrics={"top1": 90.0 + n, "val_top1": 91.0 + n}) for n in range(3)
    ]
    assert "Rows come from a search, the best val_top1 first." in footnotes(
        ablation_table(plan(design="search", seeds=[0]), held_out)
    )
