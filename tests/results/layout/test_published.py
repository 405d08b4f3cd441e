"""Published numbers beside ours: every metric and cost of a row, ours minus the published one, and what has no room."""

from __future__ import annotations

import csv
import io

import pytest

from results import EXPORTERS, ablation_table
from results.exporters import csv as csv_exporter
from results.exporters import text as text_exporter
from results.table.table_options import TableOptions, with_options

FIRST, SECOND = "A paper, table 1", "Another paper, table 2"


@pytest.fixture
def table(plan, planned, record):
    """Two rows of two seeds; the baseline is in one paper, the other row in two, with other metrics and costs."""
    variants = [
        planned("baseline", is_baseline=True, params_m=21.6, gmacs=4.61),
        planned("deep", changes={"arch.depth": 24}, params_m=43.2, gmacs=9.2),
    ]
    records = [
        record(name, seed, top1, metrics={"top1": top1, "similar_blocks": similar, "loss": 1.0})
        for name, seed, top1, similar in (
            *(("baseline", 0, 70.0, 10.0), ("baseline", 1, 72.0, 20.0)),
            *(("deep", 0, 73.0, 40.0), ("deep", 1, 74.0, 60.0)),
        )
    ]
    published = [
        {"when": {}, "values": {"top1": 72.5, "params_m": 22.1, "similar_blocks": 12.0}, "source": FIRST},
        {"when": {"arch.depth": 24}, "values": {"top1": 73.0, "similar_blocks": 55.25, "loss": 0.9}, "source": FIRST},
        {"when": {"arch.depth": 24}, "values": {"top1": 73.75, "gmacs": 9}, "source": SECOND},
    ]
    return ablation_table(plan(*variants, seeds=[0, 1], published=published), records)


def written(name, table):
    stream = io.StringIO(newline="")
    EXPORTERS[name](table, stream)
    return stream.getvalue()


def cells(table, **options):
    """Header -> cells of the Markdown table, which has room for all."""
    head, _, *lines = written("md", with_options(table, TableOptions(**options))).split("\n\n")[0].splitlines()
    split = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in (head, *lines)]
    return {name: [line[at] for line in split[1:]] for at, name in enumerate(split[0])}


def test_ours_minus_the_published_value_is_behind_it(table):
    """Means 71 and 73.5: -1.5 to 72.5; +0.5 and -0.25 to 73 and 73.75."""
    assert cells(table)["published"] == ["72.50 [1] (-1.50)", "73.00 [1], 73.75 [2] (+0.50, -0.25)"]


def test_values_of_other_columns_are_beside_ours_as_they_were_published(table):
    found = cells(table)
    assert found["similar_blocks (%)"] == ["15.0 ± 7.1 (paper 12)", "50.0 ± 14.1 (paper 55.25)"]
    assert found["params (M)"] == ["21.6 (paper 22.1)", "43.2 (+100%)"]
    assert found["GMACs"] == ["4.61", "9.20 (+100%) (paper 9)"]


@pytest.mark.parametrize("name", ["html", "md", "tex", "text"])
def test_what_the_brackets_mean_is_below_the_table(name, table):
    words = " ".join(written(name, table).split())
    if name == "text":  # 100 columns are too few for all of them
        assert "published values beside others, and differences to them; see --format md." in words
    else:
        assert "Brackets behind a published value: ours minus it. paper: the published value of that column." in (
            words.replace(" - paper:", " paper:")
        )
        assert "(paper 55.25)" in words


def test_a_wide_terminal_has_them_and_a_narrow_one_says_that_it_has_not(table):
    wide, narrow = io.StringIO(), io.StringIO()
    text_exporter.write_to_width(table, wide, None)
    text_exporter.write_to_width(table, narrow, 80)
    assert "(paper 55.25)" in wide.getvalue()
    assert "(+0.50, -0.25)" in wide.getvalue()
    assert "(paper" not in narrow.getvalue()
    assert "published values beside others" in " ".join(narrow.getvalue().split())
    assert max(map(len, narrow.getvalue().splitlines())) <= 80


def test_a_table_without_the_column_has_nothing_of_papers(table):
    found = cells(table, columns=("variant", "top1", "params_m", "similar_blocks"))
    assert found["params (M)"] == ["21.6", "43.2 (+100%)"]
    assert "paper" not in written("md", with_options(table, TableOptions(columns=("variant", "top1", "params_m"))))


def test_a_chosen_column_has_what_was_published_of_it(table):
    found = cells(table, columns=("variant", "published", "loss"))
    assert found["loss (nats) ↓"] == ["1.0000 ± 0.0000", "1.0000 ± 0.0000 (paper 0.9)"]


def test_the_csv_has_every_published_number_and_the_difference_to_it(table):
    base, deep = csv.DictReader(io.StringIO(written("csv", table)))
    assert (base["published_top1"], base["top1_minus_published"]) == ("72.5", "-1.5")
    assert (deep["published_top1"], deep["top1_minus_published"]) == ("73.0; 73.75", "0.5; -0.25")
    assert (deep["published_gmacs"], deep["gmacs_minus_published"]) == ("; 9.0", "; 0.1999999999999993")
    assert (base["published_loss"], base["loss_minus_published"]) == ("", "")
    assert float(base["params_m_minus_published"]) == pytest.approx(21.6 - 22.1)
    assert deep["published_source"] == f"{FIRST}; {SECOND}"
    chosen = with_options(table, TableOptions(columns=("variant", "published")))
    names = {name for name in base if "published" in name}
    assert set(csv_exporter.columns(chosen)) == {"variant", *names}


def test_values_are_numbers_where_every_row_has_one_at_most(plan, planned, record):
    published = [{"when": {}, "values": {"top1": 72.5}, "source": FIRST}]
    two = plan(planned("baseline", is_baseline=True), planned("x", changes={"arch.depth": 2}), published=published)
    found = csv_exporter.values(ablation_table(two, [record("baseline", 0, 70.0)]))
    assert found["top1_minus_published"] == [-2.5, None]
    assert found["published_top1"] == [72.5, None]


def test_a_row_without_results_has_its_published_value_only(plan, planned, record):
    published = [{"when": {"arch.depth": 2}, "values": {"top1": 72.5, "params_m": 3.0}, "source": FIRST}]
    two = plan(planned("baseline", is_baseline=True), planned("x", changes={"arch.depth": 2}), published=published)
    found = cells(ablation_table(two, [record("baseline", 0, 70.0, params_m=1.0)]))
    assert found["published"] == ["", "72.50 [1]"]
    assert found["params (M)"] == ["1.00", "(paper 3)"]
