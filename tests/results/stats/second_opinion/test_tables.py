"""Every column of `table.csv` of random tables against scipy and statsmodels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from .opinion import opinion
from .studies import Study, csv_of, random_study

pytestmark = pytest.mark.thorough

RELATIVE = 1e-10


def disagreements(study: Study, lines: list[dict[str, str]]) -> list[str]:
    """Cells that differ, as texts; every column must be expected, and every expected one there."""
    found = []
    for line, row in zip(lines, opinion(study), strict=True):
        assert set(line) == set(row), sorted(set(line) ^ set(row))
        found += [
            f"{row['variant']}.{name}: {line[name]!r}, expected {row[name]!r}"
            for name in row
            if not agrees(line[name], row[name], slack(name, row, study))
        ]
    return found


def slack(column: str, row: Mapping[str, Any], study: Study) -> float:
    """Absolute tolerance, where a cell is the small remainder of larger numbers, or too small to mean anything."""
    if column.endswith("_corrected") and study.chosen.correction == "dunnett":
        return 1e-30  # what the quadrature of the opinion reaches
    metric = column.partition("_delta_")[0]
    if column.endswith(("_delta_low", "_delta_high")) and isinstance(row[f"{metric}_delta"], float):
        return 1e-13 * abs(row[f"{metric}_delta"])  # mean and half width may cancel
    if column.startswith("bootstrap_"):
        return 1e-13 * (row[f"{study.metric}_delta_std"] or 0.0)
    return 1e-13 if column.endswith("_change") else 0.0


def agrees(cell: str, expected: Any, absolute: float) -> bool:
    if not isinstance(expected, float) or not cell:
        return cell == (
            "" if expected is None else str(expected).lower() if isinstance(expected, bool) else str(expected)
        )
    return math.isclose(float(cell), expected, rel_tol=RELATIVE, abs_tol=absolute)


@pytest.mark.parametrize("number", range(12))
def test_every_column_is_that_of_scipy_and_statsmodels(number):
    study = random_study(number)
    assert disagreements(study, csv_of(study, shuffled=number)) == []


@pytest.mark.slow
@pytest.mark.parametrize("block", range(15))
def test_every_column_of_many_more_tables(block):
    for number in range(12 + 25 * block, 37 + 25 * block):
        study = random_study(number)
        assert disagreements(study, csv_of(study, shuffled=number)) == [], number
