"""Columns of probes: with a unit, without arrow and difference, and only where a trial has probes."""

from __future__ import annotations

from results import ablation_table
from results.layout.table_layout import table_layout


def layout_of(plan, planned, records):
    two = plan(planned("baseline", is_baseline=True), planned("other", changes={"arch.depth": 2}), seeds=[0, 1])
    columns = table_layout(ablation_table(two, records)).columns
    return {column.header: [str(cell) for cell in column.cells] for column in columns}


def test_a_probe_is_a_column_with_its_unit(plan, planned, record):
    records = [
        record("baseline", 0, 90.0, metrics={"top1": 90.0, "cross_layer_similarity": 0.25, "similar_blocks": 50.0}),
        record("baseline", 1, 90.0, metrics={"top1": 90.0, "cross_layer_similarity": 0.75, "similar_blocks": 50.0}),
        record("other", 0, 91.0, metrics={"top1": 91.0}),
        record("other", 1, 91.0, metrics={"top1": 91.0}),
    ]
    found = layout_of(plan, planned, records)
    # The standard deviation (n - 1) of 0.25 and 0.75 is 0.25 * sqrt 2.
    assert found["cross_layer_similarity (cosine)"] == ["0.500 \u00b1 0.354", ""]
    assert found["similar_blocks (%)"] == ["50.0 \u00b1 0.0", ""]


def test_without_probes_there_are_no_such_columns(plan, planned, record):
    records = [record(name, seed, 90.0) for name in ("baseline", "other") for seed in (0, 1)]
    assert not {header for header in layout_of(plan, planned, records) if "similar" in header or "attention" in header}
