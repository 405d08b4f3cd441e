"""What a mechanism gains over its placebo, seed by seed, and that a placebo is no component."""

from __future__ import annotations

import math

import pytest

from results import ablation_table
from results.effects.placebos import beyond_parameters
from results.layout.footnotes import footnotes
from results.plan.comparison import Rounds

VALUES = {"none": (90.0, 91, 92), "real": (93.0, 94.2, 95.4), "fake": (91.0, 92, 93)}


@pytest.fixture
def table_of(plan, planned, record):
    """Rows of name -> components (None: the placebo of a), in the order of the plan."""

    def build(design, rows, values, **fields):
        variants = [
            planned(
                name,
                components={} if state is None else {"a": "a" in state, "b": "b" in state},
                placebo_of="a" if state is None else "",
                is_baseline=index == 0,
            )
            for index, (name, state) in enumerate(rows.items())
        ]
        records = [
            record(name, seed, value, epochs=fields.get("epochs", {}).get(name, 0))
            for name, found in values.items()
            for seed, value in enumerate(found)
        ]
        planned_run = plan(*variants, design=design)
        return ablation_table(planned_run.model_copy(update={"rounds": fields.get("rounds")}), records)

    return build


def test_the_difference_to_the_placebo_by_hand(table_of):
    """2.0, 2.2, 2.4: sd 0.2, 4.303 x 0.2 / sqrt(3) = 0.497; t = 19.05, p = 1 - sqrt(t^2 / (2 + t^2)) = 0.00274."""
    table = table_of("add_one_in", {"none": "", "real": "a", "fake": None}, VALUES)
    (one,) = beyond_parameters(table)
    assert (one.component, one.row, one.placebo) == ("a", "real", "fake")
    assert one.delta.differences == pytest.approx((2, 2.2, 2.4))
    assert (one.delta.low, one.delta.high) == pytest.approx((2.2 - 0.4968, 2.2 + 0.4968), abs=1e-4)
    t_squared = 3 * (2.2 / 0.2) ** 2
    assert one.p_corrected == pytest.approx(1 - math.sqrt(t_squared / (2 + t_squared)), rel=1e-6)
    assert (
        "a beyond its parameters and cost: +2.20 [+1.70, +2.70], p = 0.0027 (Holm); real minus fake, which has as many "
        "of both and does not mix, paired by seed."
    ) in footnotes(table)


def test_rows_with_looks_say_that_no_difference_to_a_placebo_is_stated(table_of):
    """Which seeds both have depends on their values."""
    rows = {"none": "", "real": "a", "fake": None}
    table = table_of("add_one_in", rows, VALUES, rounds=Rounds(looks=[3, 5]))
    assert beyond_parameters(table) == ()
    expected = "Mechanisms minus their placebos: not stated of rows whose seeds depend on results"
    assert [text for text in footnotes(table) if text.startswith(expected)]


@pytest.mark.parametrize(
    ("design", "rows", "real"),
    [
        ("leave_one_out", {"real": "ab", "none": "b", "fake": None, "- b": "a"}, "real"),
        ("cumulative", {"none": "", "+ b": "b", "real": "ab", "fake": None}, "real"),
        ("add_one_in", {"none": "", "real": "a", "fake": None, "+ b": "b"}, "real"),
    ],
)
def test_the_mechanism_is_the_row_that_the_placebo_was_made_of(table_of, design, rows, real):
    values = {**dict.fromkeys(rows, (80.0, 81.5, 80.5)), **VALUES}
    (one,) = beyond_parameters(table_of(design, rows, values))
    assert (one.row, one.delta.mean) == (real, pytest.approx(2.2))


def test_other_epochs_are_not_compared_and_missing_seeds_leave_pairs(table_of):
    rows = {"none": "", "real": "a", "fake": None}
    assert beyond_parameters(table_of("add_one_in", rows, VALUES, epochs={"fake": 5})) == ()
    (one,) = beyond_parameters(table_of("add_one_in", rows, {**VALUES, "fake": (91.0, 92)}))
    assert (one.delta.num_pairs, one.p_corrected) == (2, None)
    assert beyond_parameters(table_of("add_one_in", rows, {**VALUES, "fake": ()})) == ()


def test_a_placebo_is_no_state_of_its_component(table_of):
    """Neither a row without the component nor one with it, in the contributions of both designs."""
    from results.effects.contributions import contributions

    without = table_of("leave_one_out", {"real": "a", "none": "", "fake": None}, {**VALUES, "fake": (50.0, 50, 50)})
    added = table_of("add_one_in", {"none": "", "real": "a", "fake": None}, {**VALUES, "fake": (50.0, 50, 50)})
    (found,) = contributions(without, added)
    assert (found.alone.mean, found.in_full.mean) == pytest.approx((3.2, 3.2))
