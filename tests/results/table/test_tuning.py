"""What tuning gained for an arm: paired over the tuning seeds on the test split, with scipy's interval."""

from __future__ import annotations

import pytest
from scipy import stats

from results import ablation_table
from results.exporters import csv
from results.layout.caption import caption
from results.layout.footnotes import footnotes

RETUNED = {"parameters": ["train.lr"], "num_trials": 4, "seeds": [100, 101, 102], "sampler": "tpe"}
OWN = {100: 80.0, 101: 82.0, 102: 81.0}
CHOSEN = {100: 81.0, 101: 84.0, 102: 81.5}


@pytest.fixture
def table(plan, planned, record):
    def tried(variant_id, lr, values):
        return [
            record(
                f"{variant_id} [tried]", seed, value, variant_id=variant_id, role="retune", spec={"train": {"lr": lr}}
            )
            for seed, value in values.items()
        ]

    def build(*, own=OWN, chosen=CHOSEN, retuned=RETUNED, untuned="id-own", **fields):
        variants = [
            planned("baseline", is_baseline=True, num_tried=4, untuned_id="id-baseline"),
            planned("wide", num_tried=3, untuned_id=untuned),
        ]
        reported = [record(name, seed, 90.0 + seed) for name in ("baseline", "wide") for seed in range(3)]
        records = [*reported, *tried("id-own", 0.001, own), *tried("id-wide", 0.00316227766, chosen)]
        return ablation_table(plan(*variants, retuned=retuned, **fields), records)

    return build


def test_the_gap_is_of_the_tuning_seeds(table):
    baseline, wide = table().rows
    gaps = [CHOSEN[seed] - OWN[seed] for seed in OWN]
    interval = stats.ttest_1samp(gaps, 0).confidence_interval(0.95)
    assert wide.tuned.gap.mean == pytest.approx(sum(gaps) / 3, abs=1e-12)
    assert (wide.tuned.gap.low, wide.tuned.gap.high) == pytest.approx(tuple(interval), rel=1e-12)
    assert wide.tuned.changed == {"train.lr": (0.001, 0.00316227766)}
    assert (baseline.tuned.is_own, baseline.tuned.gap) == (True, None)
    assert wide.metrics["top1"].mean == 91.0  # of the reported seeds alone


def test_a_note_shows_it_with_what_was_chosen_on_what(table):
    (note,) = [text for text in footnotes(table()) if text.startswith("Tuned minus own")]
    assert note == (
        "Tuned minus own setting, top1 on the test split, which chose nothing, at seeds 100, 101, 102, in brackets "
        "its 95 % t-interval: baseline: its own setting is the best of 4; "
        "wide +1.17 [-0.73, +3.06] (lr 0.001 -> 0.003162)."
    )
    (text,) = [sentence.text for sentence in caption(table()) if "optimum" in sentence.text]
    assert "(tpe, seeds 100, 101, 102, which are not reported), by val_top1." in text


def test_one_seed_has_a_gap_without_interval(table):
    (note,) = [text for text in footnotes(table(retuned={**RETUNED, "seeds": [101]})) if text.startswith("Tuned minus")]
    assert note.endswith("at seed 101: baseline: its own setting is the best of 4; wide +2.00 (lr 0.001 -> 0.003162).")


def test_csv_has_it_as_numbers(table):
    found = csv.columns(table())
    assert found["settings_tried"] == [4, 3]
    assert found["tuned"] == ["own", "changed"]
    assert found["tuning_gap"] == [None, pytest.approx(3.5 / 3)]
    assert found["tuning_gap_pairs"] == [None, 3]
    assert found["tuning_gap_low"][1] < found["tuning_gap"][1] < found["tuning_gap_high"][1]
    assert "tuning_gap" not in csv.columns(table(retuned=None))


def test_an_own_setting_outside_of_the_ranges_has_no_gap(table):
    built = table(own={})
    assert built.rows[1].tuned.gap is None
    assert any("wide: its own setting has no trial" in text for text in footnotes(built))
    assert csv.columns(built)["tuning_gap"] == [None, None]


def test_before_every_arm_is_tuned_there_is_none(table):
    assert table(untuned="").rows[1].tuned is None


def test_the_gap_is_of_the_weights_that_the_table_selects(plan, planned, record):
    def tried(variant_id, last, best):
        metrics = {"top1": last, "top1@best_val": best}
        return record(f"{variant_id} [tried]", 100, last, variant_id=variant_id, role="retune", metrics=metrics)

    variants = [planned("baseline", is_baseline=True), planned("wide", untuned_id="id-own")]
    records = [tried("id-own", 50.0, 70.0), tried("id-wide", 60.0, 73.0)]
    retuned = {**RETUNED, "seeds": [100]}
    table = ablation_table(plan(*variants, retuned=retuned, analysis={"selection": "best-val"}), records)
    assert table.rows[1].tuned.gap.mean == 3.0
