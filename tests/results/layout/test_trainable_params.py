"""The column of the trained parameters: of new records, and by default only where a part of a model is frozen."""

from __future__ import annotations

import csv
import io

from results import EXPORTERS, TableFormat, ablation_table
from results.layout.table_layout import table_layout


def table_of(plan, planned, record, *, trained: dict[str, float | None], **format_):
    two = plan(planned("baseline", is_baseline=True, params_m=0.4), planned("probe", params_m=0.4), seeds=[0])
    records = [
        record(name, 0, 90.0, **({} if trained[name] is None else {"trainable_params_m": trained[name]}))
        for name in ("baseline", "probe")
    ]
    return ablation_table(two.model_copy(update={"table": TableFormat(**format_)}), records)


def cells(table) -> dict[str, list[str]]:
    return {column.header: [str(cell) for cell in column.cells] for column in table_layout(table).columns}


def written(table) -> list[dict[str, str]]:
    stream = io.StringIO(newline="")
    EXPORTERS["csv"](table, stream)
    return list(csv.DictReader(io.StringIO(stream.getvalue())))


def test_a_frozen_part_is_seen_in_every_table(plan, planned, record):
    table = table_of(plan, planned, record, trained={"baseline": 0.4, "probe": 0.01})
    assert cells(table)["trainable (M)"] == ["0.4000", "0.0100 (-98%)"]
    assert [row["trainable_params_m"] for row in written(table)] == ["0.4", "0.01"]
    assert float(written(table)[1]["trainable_params_m_change"]) == -0.975


def test_without_one_it_is_shown_to_those_who_ask_for_it(plan, planned, record):
    same = {"baseline": 0.4, "probe": 0.4}
    unasked = table_of(plan, planned, record, trained=same)
    assert "trainable (M)" not in cells(unasked)
    assert "trainable" not in " ".join(table_layout(unasked).notes())
    asked = table_of(plan, planned, record, trained=same, columns=("variant", "trainable_params_m"))
    assert cells(asked)["trainable (M)"] == ["0.400", "0.400 (0.0%)"]
    assert "trainable: millions of parameters that the training changes" in " ".join(table_layout(asked).notes())


def test_records_of_before_have_none(plan, planned, record):
    table = table_of(plan, planned, record, trained={"baseline": None, "probe": None})
    assert "trainable (M)" not in cells(table)
    assert not [name for name in written(table)[0] if "trainable" in name]
    assert "trainable" not in record("baseline", 0, 90.0).model_dump_json()
