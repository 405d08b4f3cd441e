"""The majority-class line below a table, and the mark of rows that are not above it."""

from __future__ import annotations

import csv
import io

import pytest
from scipy.stats import t

from results import EXPORTERS, TableFormat, ablation_table
from results.layout.table_layout import table_layout

LINE = {"name": "cat", "metrics": {"top1": 25.0, "macro_f1": 10.0}}
DATA = {"dataset": "folder/pets", "num_classes": 4, "train_images": 80, "test_images": 400, "majority": 0.25}


@pytest.fixture
def table(plan, planned, record):
    def table_(values, *, data=None, macro_f1=50.0, seed_sources=None, **format_):
        changes = {name: ({} if name == "baseline" else {"arch.depth": at}) for at, name in enumerate(values)}
        variants = [planned(name, changes=changes[name], is_baseline=name == "baseline") for name in values]
        records = [
            record(name, seed, top1, metrics={"top1": top1, "macro_f1": macro_f1})
            for name, found in values.items()
            for seed, top1 in enumerate(found)
        ]
        seeds = list(range(len(values["baseline"])))
        known = [{**DATA, "majority_class": LINE}] if data is None else data
        made = plan(
            *variants,
            seeds=seeds,
            data=known,
            num_test_images=400,
            table=TableFormat(**format_),
            seed_sources=seed_sources,
        )
        return ablation_table(made, records)

    return table_


def _marked(made, name: str = "top1") -> list[bool]:
    column = next(column for column in table_layout(made).columns if column.name == name)
    return [str(cell).endswith(" \u00a7") for cell in column.cells]


def _notes(made) -> str:
    return " ".join(table_layout(made).notes())


def test_the_line_is_below_the_table(table):
    notes = _notes(table({"baseline": [90.0, 91.0, 92.0]}))
    assert (
        "Majority class: always predicting cat, the most frequent class of the training images, gives top1 25.00 %."
        in notes
    )
    assert "not above" not in notes
    assert "most frequent class is 25.0 %" not in notes  # the caption of data without a line


def test_further_metrics_are_those_of_the_columns(table):
    notes = _notes(table({"baseline": [90.0, 91.0, 92.0]}, columns=("variant", "macro_f1", "top1", "delta")))
    assert "gives macro_f1 10.00 %, top1 25.00 %." in notes
    assert "Majority class" not in _notes(table({"baseline": [90.0, 91.0, 92.0]}, columns=("variant", "delta")))


def test_a_row_whose_interval_reaches_the_line_is_marked(table):
    """Values m - 1, m and m + 1 have the standard deviation 1: the interval reaches 4.3027 / sqrt 3 below m."""
    half = t.ppf(0.975, 2) / 3**0.5
    above, reaching = 25 + half + 0.01, 25 + half - 0.01
    made = table({"baseline": [above - 1, above, above + 1], "near": [reaching - 1, reaching, reaching + 1]})
    assert _marked(made) == [False, True]
    assert "\u00a7 not above the majority class: the 95 % interval over seeds of this number reaches it." in _notes(
        made
    )


def test_of_a_single_seed_the_test_images_decide(table):
    """An accuracy of 29 % of 400 images has the standard error 2.269, and its interval reaches 24.54."""
    made = table({"baseline": [29.0], "high": [30.0], "low": [20.0]})
    assert _marked(made) == [True, False, True]
    assert "interval over test images" in _notes(made)


def test_a_further_metric_has_its_own_mark(table):
    made = table({"baseline": [90.0, 91.0, 92.0]}, macro_f1=9.0, columns=("variant", "top1", "macro_f1"))
    assert _marked(made) == [False]
    assert _marked(made, "macro_f1") == [True]


def test_several_datasets_have_a_line_each_and_no_marks(table):
    other = {**DATA, "dataset": "folder/birds", "majority_class": {"name": "owl", "metrics": {"top1": 40.0}}}
    made = table({"baseline": [20.0, 21.0, 22.0]}, data=[{**DATA, "majority_class": LINE}, other])
    assert _marked(made) == [False]
    assert "Majority class of folder/pets: always predicting cat" in _notes(made)
    assert "Majority class of folder/birds: always predicting owl" in _notes(made)


def test_plans_without_the_class_keep_the_sentence_of_the_caption(table):
    notes = _notes(table({"baseline": [20.0, 21.0, 22.0]}, data=[DATA]))
    assert "the most frequent class is 25.0 % of the test images" in notes
    assert "Majority class" not in notes


@pytest.mark.parametrize("name", sorted(set(EXPORTERS) - {"csv"}))
def test_every_format_has_line_and_mark(table, name):
    stream = io.StringIO(newline="")
    EXPORTERS[name](table({"baseline": [20.0, 21.0, 22.0]}), stream)
    written = " ".join(stream.getvalue().split())
    assert "Majority class: always predicting cat" in written
    assert ("\\S{}" if name == "tex" else "\u00a7") in written


def test_csv_has_the_line(table):
    def header(made) -> dict[str, str]:
        stream = io.StringIO(newline="")
        EXPORTERS["csv"](made, stream)
        return next(csv.DictReader(stream.getvalue().splitlines()))

    assert header(table({"baseline": [20.0, 21.0, 22.0]}))["top1_majority"] == "25.0"
    assert "top1_majority" not in header(table({"baseline": [20.0, 21.0, 22.0]}, data=[DATA]))


def test_trainings_that_share_levels_have_no_interval_of_a_mean_and_no_mark(table):
    """Their standard deviation is not one of independent seeds; the line itself is stated."""
    values = {"baseline": [20.0, 22.0, 24.0, 26.0]}
    assert _marked(table(values)) == [True]
    crossed = table(values, seed_sources={"vary": ["init", "order"], "crossed": {"init": 2, "order": 2}})
    assert _marked(crossed) == [False]
    assert "gives top1 25.00 %." in _notes(crossed)
    assert "not above" not in _notes(crossed)
