"""Further metrics of a table: their means and differences, without a test, and a note where trials lack them."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from scipy.stats import t

from results import EXPORTERS, TableFormat, ablation_table
from results.layout.row_order import in_order
from results.layout.table_layout import table_layout

MACRO_F1 = {"baseline": (80.0, 82.0, 84.0), "deep": (81.0, 84.0, 84.0), "flat": (83.0, 80.0, 75.0)}
ECE = {"baseline": (5.0, 6.0, 7.0), "deep": (4.0, 5.0, 6.0), "flat": (9.0, 9.0, 9.5)}


@pytest.fixture
def table(plan, planned, record):
    def table_(*, lacking=(), analysis=None, **format_):
        changes = {"baseline": {}, "deep": {"arch.depth": 6}, "flat": {"arch.depth": 2}}
        variants = [planned(name, changes=changes[name], is_baseline=not changes[name]) for name in changes]
        records = []
        for name in changes:
            for seed in range(3):
                further = {"macro_f1": MACRO_F1[name][seed], "ece": ECE[name][seed]}
                further = {} if (name, seed) in lacking else further
                top1 = 90.0 + 5 * (name == "deep") + [0.0, 0.1, 0.3][seed] * (name == "deep")
                records.append(record(name, seed, top1, metrics={"top1": top1, **further}))
        more = {"analysis": analysis} if analysis else {}
        return ablation_table(plan(*variants, table=TableFormat(**format_), **more), records)

    return table_


def _cells(made) -> dict[str, list[str]]:
    return {column.name: [str(cell) for cell in column.cells] for column in table_layout(made).columns}


def test_a_further_metric_has_its_own_difference_with_its_interval(table):
    """Of 1, 2 and 0: the mean is 1, the standard deviation 1, and the interval 1 -+ 4.3027 / sqrt 3."""
    found = _cells(table(columns=("variant", "macro_f1", "delta:macro_f1", "delta_std:macro_f1", "delta")))
    assert found["macro_f1"][:2] == ["82.00 \u00b1 2.00", "83.00 \u00b1 1.73"]
    assert found["delta:macro_f1"][:2] == ["", "+1.00 [-1.48, +3.48]"]
    assert found["delta_std:macro_f1"][:2] == ["", "1.00"]
    assert found["delta"][1].endswith("**")  # stars are of the metric of the table alone


def test_the_interval_may_be_a_column_of_its_own(table):
    found = _cells(table(columns=("variant", "delta:macro_f1", "interval:macro_f1")))
    assert (found["delta:macro_f1"][1], found["interval:macro_f1"][1]) == ("+1.00", "[-1.48, +3.48]")


def test_simultaneous_intervals_are_those_of_every_metric(table):
    """Bonferroni of two arms."""
    made = table(analysis={"interval": "simultaneous"}, columns=("variant", "delta:macro_f1"))
    deep = next(row for row in made.rows if row.name == "deep")
    half = t.ppf(1 - 0.05 / 4, 2) / 3**0.5
    assert deep.other_deltas["macro_f1"].low == pytest.approx(1 - half, rel=1e-9)
    assert deep.other_deltas["macro_f1"].high == pytest.approx(1 + half, rel=1e-9)


def test_the_header_says_which_direction_is_better(table):
    columns = table_layout(table(columns=("variant", "delta:macro_f1", "delta:ece"))).columns
    assert [column.header.partition(" [")[0] for column in columns[1:]] == [
        "\u0394 macro_f1 \u2191",
        "\u0394 ece \u2193",
    ]


def test_the_caption_says_that_no_claim_rests_on_it(table):
    said = " ".join(table_layout(table(columns=("variant", "top1", "delta", "delta:macro_f1"))).notes())
    assert (
        "\u0394 macro_f1: as \u0394, of that metric; no interval is corrected for the number of metrics; verdicts, "
        "p-values and stars are of top1 alone."
    ) in said
    alone = " ".join(table_layout(table(columns=("variant", "delta:macro_f1"))).notes())
    assert "mean of the same-seed differences to 'baseline'" in alone
    assert "number of metrics" not in " ".join(table_layout(table(columns=("variant", "top1", "delta"))).notes())


def test_the_metric_of_the_table_by_its_name_is_its_own_column(table):
    found = _cells(table(columns=("variant", "delta:top1")))
    assert list(found) == ["variant", "delta"]
    assert found["delta"][1].endswith("**")


@pytest.mark.parametrize(
    ("sort", "names"),
    [("delta:macro_f1", ["deep", "flat"]), ("delta:ece:desc", ["flat", "deep"]), ("delta:ece", ["deep", "flat"])],
)
def test_rows_are_ordered_by_the_difference_of_a_further_metric(table, sort, names):
    assert [row.name for row in in_order(table(sort=sort)).rows] == ["baseline", *names]


def test_trials_without_a_metric_are_counted_in_a_note(table):
    """As those of an older version. Pairs of the difference are those that both have."""
    made = table(lacking={("deep", 1)}, columns=("variant", "macro_f1", "delta:macro_f1"))
    said = (
        "macro_f1: not measured in 1 of 9 completed trials, because it is undefined there or the version that trained "
        "them had no such metric."
    )
    assert said in table_layout(made).footnotes
    assert _cells(made)["delta:macro_f1"][1].startswith("+0.50 [")
    assert _cells(made)["delta:macro_f1"][1].endswith("(2 pairs)")
    assert not [note for note in table_layout(table(columns=("variant", "macro_f1"))).footnotes if "measured" in note]


def test_a_metric_that_no_trial_has_is_an_empty_column(table):
    every = {(name, seed) for name in MACRO_F1 for seed in range(3)}
    made = table(lacking=every, columns=("variant", "macro_f1", "delta:macro_f1"))
    assert _cells(made)["macro_f1"] == _cells(made)["delta:macro_f1"] == ["", "", ""]
    assert any("not measured in 9 of 9" in note for note in table_layout(made).footnotes)


def test_every_class_is_a_column_of_its_own_and_none_by_default(plan, planned, record):
    """In the order of the labels, which is that of the records."""
    variants = [planned("baseline", is_baseline=True), planned("deep", changes={"arch.depth": 6})]
    records = [
        record(name, seed, 90.0, metrics={"top1": 90.0, "accuracy/zebra": 80.0 + seed + at, "accuracy/ant": 70.0})
        for at, name in enumerate(("baseline", "deep"))
        for seed in range(3)
    ]
    chosen = TableFormat(columns=("variant", "accuracy/*", "delta:accuracy/*"))
    made = ablation_table(plan(*variants, table=chosen), records)
    found = _cells(made)
    assert list(found) == ["variant", "accuracy/zebra", "accuracy/ant", "delta:accuracy/zebra", "delta:accuracy/ant"]
    assert found["accuracy/zebra"] == ["81.00 \u00b1 1.00", "82.00 \u00b1 1.00"]
    assert found["delta:accuracy/zebra"][1].startswith("+1.00 [")
    assert not {*_cells(ablation_table(plan(*variants), records))} & {*found} - {"variant"}
    stream = io.StringIO(newline="")
    EXPORTERS["csv"](ablation_table(plan(*variants), records), stream)
    assert next(csv.DictReader(stream.getvalue().splitlines()))["accuracy/zebra_mean"] == "81.0"
    stream = io.StringIO(newline="")
    EXPORTERS["csv"](replace(made, csv_columns=("variant", "accuracy/*")), stream)
    assert stream.getvalue().splitlines()[0] == (
        "variant,accuracy/zebra_mean,accuracy/zebra_std,accuracy/ant_mean,accuracy/ant_std"
    )


def test_csv_has_the_differences_that_are_asked_for(table):
    def written(*columns: str) -> list[dict[str, str]]:
        stream = io.StringIO(newline="")
        EXPORTERS["csv"](replace(table(), csv_columns=columns), stream)
        return list(csv.DictReader(stream.getvalue().splitlines()))

    assert "macro_f1_delta" not in written()[1]
    found = written("variant", "delta:macro_f1", "delta_std:macro_f1")[1]
    half = t.ppf(0.975, 2) / 3**0.5
    bounds = [float(found.pop(f"macro_f1_delta_{end}")) for end in ("low", "high")]
    assert bounds == pytest.approx([1 - half, 1 + half], rel=1e-9)
    assert found == {
        "variant": "deep",
        "macro_f1_delta": "1.0",
        "alpha": "0.05",
        "interval": "unadjusted",
        "macro_f1_delta_pairs": "3",
        "macro_f1_delta_std": "1.0",
    }
