"""The digits of a difference follow its size where a claim rests on it."""

from __future__ import annotations

import pytest

from results import ablation_table
from results.layout.table_layout import table_layout


@pytest.fixture
def cell(plan, planned, record):
    """The cell of the difference of an arm, for a loss (4 decimals) at five seeds."""

    def cell_(differences):
        of = plan(planned("baseline", is_baseline=True), planned("arm"), metric="loss", seeds=[0, 1, 2, 3, 4])
        base = [0.5, 0.25, 0.375, 0.625, 0.75]
        records = [
            record(name, seed, status="completed", metrics={"loss": base[seed] + shift})
            for name, shifts in (("baseline", [0.0] * 5), ("arm", differences))
            for seed, shift in enumerate(shifts)
        ]
        columns = table_layout(ablation_table(of, records)).columns
        (column,) = [column for column in columns if column.header.startswith("\u0394")]
        return str(column.cells[1])

    return cell_


def test_a_claim_is_never_printed_as_zero(cell):
    """Mean 1e-5, SD 1.581e-6: interval 1e-5 -+ 2.776 * 1.581e-6 / sqrt(5)."""
    assert cell([8e-6, 9e-6, 10e-6, 11e-6, 12e-6]) == "+0.00001000 [+0.00000804, +0.00001196]***"


def test_a_difference_that_is_no_claim_keeps_the_column(cell):
    assert cell([8e-6, -9e-6, 10e-6, -11e-6, 3e-6]) == "0.0000 [0.0000, 0.0000]"


def test_a_claim_that_shows_keeps_the_column(cell):
    assert cell([0.08, 0.09, 0.10, 0.11, 0.12]).startswith("+0.1000 [+0.0804, +0.1196]***")
