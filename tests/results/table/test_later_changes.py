"""What was changed after results were seen is in the caption, and its verdicts are marked."""

from __future__ import annotations

import csv
import io

import pytest

from results import EXPORTERS, ablation_table
from results.layout.table_layout import table_layout
from results.plan.comparison import Decision


@pytest.fixture
def table(plan, planned, record):
    """Two arms of three seeds that both differ from the baseline."""

    def table_(*decided, added_after=0):
        of = plan(
            planned("baseline", is_baseline=True),
            planned("a", changes={"x": 1}),
            planned("b", changes={"x": 2}, added_after=added_after),
            decided_later=decided,
        )
        values = {"baseline": (90.0, 90.5, 91.0), "a": (95.0, 95.4, 96.1), "b": (80.0, 80.6, 81.1)}
        return ablation_table(
            of, [record(name, seed, value) for name in values for seed, value in enumerate(values[name])]
        )

    return table_


def verdicts(of):
    (column,) = [column for column in table_layout(of).columns if column.header == "verdict"]
    return [str(cell) for cell in column.cells]


def exploratory(of):
    EXPORTERS["csv"](of, stream := io.StringIO())
    return [row["exploratory"] for row in csv.DictReader(io.StringIO(stream.getvalue()))]


def sentence(of):
    return [text for text in table_layout(of).notes() if text.startswith("Changed after results were seen")]


def test_as_planned(table):
    assert (verdicts(table()), exploratory(table()), sentence(table())) == (
        ["", "better", "worse"],
        ["", "false", "false"],
        [],
    )


def test_a_change_of_the_comparison_marks_every_verdict(table):
    of = table(
        Decision(what="seeds", before=[0, 1], after=[0, 1, 2], num_results=4),
        Decision(what="analysis.alpha", before=0.05, after=0.4, num_results=1),
        Decision(what="variant c", before="c", after=None, num_results=9),
    )
    assert verdicts(of) == ["", "better (exploratory)", "worse (exploratory)"]
    assert exploratory(of) == ["", "true", "true"]
    assert sentence(of) == [
        "Changed after results were seen: seeds: 0, 1 -> 0, 1, 2 (after 4 trials); analysis.alpha: 0.05 -> 0.4 (after "
        "1 trial); row left out: c (after 9 trials). Verdicts that rest on it are exploratory: alpha does not bound "
        "their false claims."
    ]


def test_a_row_that_was_added_is_exploratory_alone(table):
    of = table(added_after=6)
    assert verdicts(of) == ["", "better", "worse (exploratory)"]
    assert exploratory(of) == ["", "false", "true"]
    assert sentence(of)[0].startswith("Changed after results were seen: row added: b (after 6 trials).")


def test_trials_that_are_bit_identical_to_the_baseline_are_named(plan, planned, record):
    """The accuracy of `c` agrees by chance, and its loss does not."""
    losses = {"baseline": 0.5, "same": 0.5, "c": 0.50001}
    of = plan(planned("baseline", is_baseline=True), planned("same"), planned("c"))
    records = [
        record(name, seed, metrics={"top1": 90.0 + seed, "loss": loss}, status="completed")
        for name, loss in losses.items()
        for seed in range(3)
    ]
    (found,) = [text for text in table_layout(ablation_table(of, records)).notes() if "Bit-identical" in text]
    assert found == "Bit-identical to the baseline at every seed, so that nothing was varied: same."
