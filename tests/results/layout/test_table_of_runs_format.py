"""The format of a table of several runs: order within each run, and nothing of their differences is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from results import TableFormat, ablation_table, merged_table
from results.layout.table_layout import table_layout


@pytest.fixture
def two_runs(plan, planned, record):
    """Two runs of different data and epochs, each with a baseline and two arms."""

    def two_runs_(first: TableFormat, second: TableFormat | None = None):
        tables = []
        for sweep, dataset, format_ in (("one", "builtin/digits", first), ("two", "folder/x", second or first)):
            variants = [planned(name, is_baseline=name == "baseline") for name in ("baseline", "a", "b")]
            records = [record(n, s, v + s) for n, v in (("baseline", 90.0), ("a", 80.0), ("b", 85.0)) for s in range(3)]
            tables.append(ablation_table(plan(*variants, sweep=sweep, dataset=dataset, table=format_), records))
        return merged_table(tables, [Path("runs/one"), Path("runs/two")])

    return two_runs_


def test_rows_are_sorted_within_each_run(two_runs):
    layout = table_layout(two_runs(TableFormat(sort="top1")))
    assert [cell.value for cell in layout.columns[0].cells] == ["baseline", "b", "a"] * 2
    assert [group.title for group in layout.groups] == ["one (builtin/digits)", "two (folder/x)"]


def test_equal_formats_are_that_of_the_table_and_others_are_not(two_runs):
    ours = TableFormat(sort="top1", label="tab:both")
    assert two_runs(ours).format == ours
    assert two_runs(ours, TableFormat(label="tab:two")).format == TableFormat()


def test_a_transposed_table_names_the_run_of_every_column(two_runs):
    layout = table_layout(two_runs(TableFormat(transpose=True)))
    assert [column.header for column in layout.columns] == [
        *("variant", "one: baseline", "one: a", "one: b", "two: baseline", "two: a", "two: b"),
    ]
    assert layout.footnotes[:2] == ("one (builtin/digits).", "two (folder/x).")


def test_groups_of_a_parameter_are_one_order(plan, planned, record):
    """`one_factor` with two parameters has a group of each; sorted rows are of both."""
    changes = {"baseline": {}, "depth": {"arch.depth": 6}, "heads": {"arch.num_heads": 2}, "deeper": {"arch.depth": 8}}
    variants = [planned(n, changes=c, is_baseline=n == "baseline") for n, c in changes.items()]
    records = [record(n, 0, 80.0 + len(n)) for n in changes]
    table = ablation_table(plan(*variants, seeds=[0]), records)
    assert len(table_layout(table).groups) == 4
    layout = table_layout(replace(table, format=TableFormat(sort="top1:desc")))
    assert [cell.value for cell in layout.columns[0].cells] == ["baseline", "deeper", "depth", "heads"]
    assert [(group.start, group.stop) for group in layout.groups] == [(0, 4)]
