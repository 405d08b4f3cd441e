"""Columns, names, digits, order, label and caption of a table: the same in every format, and no guard is lost."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import pytest

from results import EXPORTERS, TableFormat, ablation_table
from results.exporters import text as text_exporter

_READERS = sorted(set(EXPORTERS) - {"csv"})


def _written(name: str, table) -> str:
    stream = io.StringIO(newline="")
    EXPORTERS[name](table, stream)
    return stream.getvalue()


@pytest.fixture
def table(quickstart_plan, quickstart_records):
    """The quickstart with a format."""

    def table_(**format_):
        return ablation_table(quickstart_plan.model_copy(update={"table": TableFormat(**format_)}), quickstart_records)

    return table_


def _words(name: str, table) -> str:
    """What is printed, without the markup of the format and on one line; of LaTeX only the first form of the cells."""
    written = _written(name, table).replace("$\\Delta$", "\u0394").replace("\\_", "_").replace("\\%", "%")
    written = re.sub(r"% The same with two lines a cell.*?\\end\{tabular\}\}%\n", "", written, flags=re.DOTALL)
    written = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", written, flags=re.DOTALL)
    written = re.sub(r"\\begin\{tabular\}\[.\]\{@\{\}.@\{\}\}|\\end\{tabular\}", "", written).replace("\\\\", " ")
    return " ".join(re.sub(r"<.*?>", " ", written).replace("\\", "").split())


@pytest.mark.parametrize("name", _READERS)
def test_a_column_that_is_not_chosen_is_in_no_format(name, table):
    """Nor what explains it: costs, published values with their sources, standard deviations of differences."""
    words = _words(name, table(columns=("variant", "seeds", "top1", "delta")))
    for gone in ("GMACs", "params", "train (s)", "train:", "0.1071", "Refiner, Table 1", "SD", "Brackets"):
        assert gone not in words, gone
    assert "96.25" in words
    assert "-0.25" in words or "$-$0.25" in words


@pytest.mark.parametrize("name", _READERS)
def test_what_guards_a_difference_stays(name, table):
    """The interval, what it covers, the test and its correction are behind every difference."""
    words = _words(name, table(columns=("variant", "delta")))
    for kept in (
        *("95% CI over seeds, unadjusted", "not corrected for multiple comparisons", "Intervals cover"),
        *("corrected after Holm for 3 arms", "(n pairs): seeds are missing"),
    ):
        assert kept in words.replace("seeds,unadjusted", "seeds, unadjusted"), kept


@pytest.mark.parametrize("name", _READERS)
def test_missing_seeds_are_named_where_no_column_shows_them(name, table):
    """A dagger keeps its note, and the row with it its name."""
    words = _words(name, table(columns=("variant", "top1"))).replace("dag{}", "\u2020")
    listed = "attention=reattention 2/3 \u20207; attention=groupmix 1/3 failed."
    assert f"Not all planned seeds are completed: {listed}" in words
    assert "\u2020 pruned at the epoch beside it; outside every mean and difference." in words
    assert "Failed: attention=groupmix seed 1" in words


def test_a_failed_program_is_named_with_its_last_words(quickstart_plan, quickstart_records):
    message = "'train.sh' ended with exit code 1; its last lines:\nTraceback\nValueError: no data\n"
    records = [
        each.model_copy(update={"failure": each.failure.model_copy(update={"message": message})})
        if each.failure
        else each
        for each in quickstart_records
    ]
    assert "ended with exit code 1; its last lines: ValueError: no data" in _words(
        "md", ablation_table(quickstart_plan, records)
    )


def test_a_column_of_the_seeds_needs_no_such_note(table):
    assert "Not all planned" not in _written("md", table(columns=("variant", "seeds", "top1")))


def test_columns_have_the_order_and_names_that_were_asked_for(table):
    chosen = ("arch.attention", "interval", "delta", "top1", "loss", "p", "p_corrected", "variant")
    rename = {"arch.attention": "Attention", "top1": "Accuracy", "delta": "Gain"}
    header, _, *rows = _written("md", table(columns=chosen, rename=rename)).split("\n")
    assert header == (
        "| Attention | interval [95% CI over seeds, unadjusted] | Gain | Accuracy \u2191 | loss (nats) \u2193 |"
        " p (not corrected) | p (holm) | variant |"
    )
    # t = 2 / (1 / sqrt(3)), 2 degrees of freedom: p = 1 - sqrt(12 / 14) = 0.0742, times three arms.
    assert rows[2] == (
        "| refiner (expansion=6) | [-0.48, +4.48] | +2.00 | 99.00 \u00b1 2.00 | 0.2500 \u00b1 0.0000 | 0.0742 | 0.2225"
        " | attention=refiner expansion=6 |"
    )


@pytest.mark.parametrize("name", _READERS)
def test_a_renamed_column_keeps_its_usual_name_in_the_caption(name, table):
    """The sentences of the caption speak of `top1` and of the difference."""
    words = _words(name, table(columns=("variant", "top1", "delta"), rename={"top1": "A & B", "variant": "Method"}))
    assert "A & B" in words.replace("&amp;", "&")
    assert "Method" in words
    assert "Columns: A & B is top1 (%)." in words.replace("&amp;", "&")


@pytest.mark.parametrize("name", _READERS)
def test_more_digits_than_the_data_have_are_stated(name, table):
    """360 test images: one is 0.28 %."""
    words = _words(name, table(columns=("variant", "top1"), digits={"top1": 4}))
    assert "97.0000" in words
    assert "top1 has 4 decimals as asked for, 2 by default; one of the 360 test images is 0.28 %." in words
    assert "as asked for" not in _words(name, table(columns=("variant", "top1"), digits={"*": 1}))


def test_fewer_digits_print_no_spread_as_zero(plan, planned, record):
    """90.1, 90.2, 90.3: SD 0.1, which without decimals would be `90 +- 0`."""
    records = [record("baseline", seed, 90.1 + seed / 10) for seed in range(3)]
    of = plan(planned("baseline", is_baseline=True), table=TableFormat(digits={"*": 0}))
    assert "| 90 \u00b1 0.1 |" in _written("md", ablation_table(of, records))


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("top1", ["baseline", "attention=refiner expansion=6", "attention=reattention", "attention=groupmix"]),
        ("top1:asc", ["baseline", "attention=groupmix", "attention=reattention", "attention=refiner expansion=6"]),
        ("gmacs", ["baseline", "attention=reattention", "attention=groupmix", "attention=refiner expansion=6"]),
        ("loss", ["baseline", "attention=refiner expansion=6", "attention=reattention", "attention=groupmix"]),
        ("variant:desc", ["baseline", "attention=refiner expansion=6", "attention=reattention", "attention=groupmix"]),
    ],
)
@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_rows_are_sorted_below_the_baseline(name, table, sort, expected):
    """The same in every format; without a direction the best first; without a value last."""
    written = _written(name, table(sort=sort)).split("% The same with two lines")[0]
    if name == "text":  # a long name goes on in the next line
        written = written.replace("attention=refiner", "attention=refiner expansion=6")
    rows = written.partition("Failed")[0]
    header = rows.index("baseline" if name != "csv" else "\nbaseline")
    places = [rows.index(one.replace("_", "\\_") if name == "tex" else one, header) for one in expected]
    assert places == sorted(places)


@pytest.mark.parametrize("name", _READERS)
def test_the_order_is_stated(name, table):
    assert "Rows: sorted by gmacs, ascending, below the baseline." in _words(name, table(sort="gmacs"))


def test_a_sorted_search_is_still_known_as_one(plan, planned, record):
    """`the best first` would be wrong now; that the values were selected is as true as before."""
    names = {"baseline": 90.0, "a": 95.0, "b": 80.0}
    records = [record(name, seed, value) for name, value in names.items() for seed in range(3)]
    variants = [planned(name, is_baseline=name == "baseline") for name in names]
    made = ablation_table(plan(*variants, design="search", num_trials=3, table=TableFormat(sort="top1:asc")), records)
    written = _written("md", made)
    assert "Rows come from a search and are sorted by top1, ascending, below the baseline." in written
    assert "They were selected on the test split, so the best values are too good." in written
    assert "first." not in written


@pytest.mark.parametrize("name", _READERS)
def test_a_caption_replaces_the_title_and_no_explanation(name, table):
    words = _words(name, table(caption="Attention in a small ViT"))
    assert "Attention in a small ViT" in words
    assert "top1 (%, higher is better): mean" in words
    assert "corrected after Holm for 3 arms" in words


def test_a_label_is_latex_only(table):
    made = table(label="tab:attention_1")
    assert re.search(r"\\caption\{.*\}\n\\label\{tab:attention_1\}\n", _written("tex", made))
    assert all("tab:attention_1" not in _written(name, made) for name in sorted(set(EXPORTERS) - {"tex"}))
    assert "\\label" not in _written("tex", table())


def test_a_caption_is_text_for_latex(table):
    """No command of it is carried out; its own full stop is not doubled."""
    written = _written("tex", table(caption=r"\input{x} of 50 % & more."))
    assert r"\caption{\textbackslash{}input\{x\} of 50 \% \& more. top1 (\%, higher is better)" in written


def test_a_transposed_table_has_a_column_for_every_variant(table):
    written = _written("md", table(columns=("variant", "top1", "gmacs"), transpose=True)).split("\n")
    assert written[:4] == [
        "| variant | baseline | attention=reattention | attention=refiner expansion=6 | attention=groupmix |",
        "| :--- | ---: | ---: | ---: | ---: |",
        "| top1 (%) \u2191 | 97.00 \u00b1 1.00 | 96.25 \u00b1 1.77 | 99.00 \u00b1 2.00 | 94.50 |",
        "| GMACs | 0.00182 | 0.00186 (+2.2%) | 0.00331 (+82%) | 0.00201 (+10%) |",
    ]


@pytest.mark.parametrize("name", _READERS)
def test_a_transposed_table_says_the_same(name, table):
    """Every number of the table, and every note."""
    words, turned = (_words(name, table(transpose=is_turned)) for is_turned in (False, True))
    if name == "text":  # what has no room differs
        return
    numbers = re.findall(r"\d+\.\d+", words)
    assert sorted(numbers) == sorted(re.findall(r"\d+\.\d+", turned))


def test_csv_has_everything_whatever_readers_see(table):
    """Names, digits, caption and a section of the sweep are for readers."""
    chosen = table(columns=("variant", "top1"), rename={"top1": "A"}, digits={"*": 0}, caption="C", transpose=True)
    assert _written("csv", chosen) == _written("csv", table())


def test_csv_has_only_the_columns_of_the_command_line(table):
    made = replace(table(), csv_columns=("variant", "delta", "top1", "gmacs", "arch.attention", "verdict"))
    rows = list(csv.reader(io.StringIO(_written("csv", made), newline="")))
    assert rows[0] == [
        *("variant", "top1_delta", "top1_delta_low", "top1_delta_high", "alpha", "interval", "delta_pairs"),
        *("top1_mean", "top1_std", "gmacs", "gmacs_change", "arch.attention", "verdict", "exploratory"),
    ]
    assert rows[4][:2] == ["attention=groupmix", "-1.5"]
    assert rows[4][-4:] == ["0.10439560439560447", "groupmix", "incomplete", ""]


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200, None])
def test_text_uses_the_width_and_hides_no_column_in_silence(table, width, transpose):
    """Every column is in the table, or named below it; within the width, as far as the metric and the names allow."""
    stream = io.StringIO()
    text_exporter.write_to_width(table(transpose=transpose), stream, width)
    written = stream.getvalue()
    rules = [index for index, line in enumerate(written.split("\n")) if line.startswith("\u2500")]
    head = " ".join(" ".join(written.split("\n")[2 : rules[1] if transpose else rules[0]]).split())
    below = " ".join(" ".join(written.split("\n")[rules[1] :]).split())
    note = below.partition("left out: ")[2]
    names = ["top1", "GMACs", "published", "train", "params", "\u0394", "SD \u0394", "verdict"]
    for name in names:
        shown = all(word in head.split() for word in name.split())
        assert shown or name in note or (name == "verdict" and "Verdicts: incomplete:" in below), name
    if width is None or width >= 200:
        assert not note
        assert "(+2.2%)" in written
    if width is not None and width >= 60:
        assert max(map(len, written.split("\n"))) <= width


def test_a_narrow_terminal_still_has_names_seeds_and_metric(table):
    stream = io.StringIO()
    text_exporter.write_to_width(table(), stream, 1)
    assert re.search(r"^attention=reattention +2/3 \u20207 +96\.25 \u00b1 1\.77$", stream.getvalue(), re.MULTILINE)


def test_a_table_of_few_rows_is_never_rotated(table, plan, planned, record):
    """LaTeX: four rows have two lines a cell where they are too wide; seven rows may have a page of their own."""
    few = _written("tex", table())
    assert "sidewaystable" not in few
    assert few.count("\\begin{tabular}{lrrrrlrrrr}\n") == 2
    many = ablation_table(plan(*(planned(str(index), is_baseline=not index) for index in range(7))), [])
    assert "sidewaystable*" in _written("tex", many)
    assert "archsweepstacked" not in _written("tex", many)


def test_both_forms_of_the_cells_have_the_same_numbers(table):
    first, second = re.findall(r"\\midrule\n(.*?)\\bottomrule", _written("tex", table()), re.DOTALL)
    numbers = [sorted(re.findall(r"[-+]?\d+\.?\d*", form.replace("$-$", "-"))) for form in (first, second)]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("name", _READERS)
def test_hostile_names_and_captions_are_text(name, table):
    evil = "<script>alert(1)</script> | \\end{tabular} `x` \x1b[2J"
    written = _written(name, table(rename={"top1": evil}, caption=evil))
    body = re.sub(r"<script>\n\"use strict\".*?</script>", "", written, flags=re.DOTALL)
    assert "\x1b" not in written
    if name == "html":
        assert "<script>" not in body
    if name == "tex":
        assert "\\textbackslash{}end\\{tabular\\}" in body
        assert body.count("\\end{tabular}}%") == 2
    if name == "md":
        assert "\\<script\\>alert(1)\\</script\\> \\|" in body


def test_a_transposed_table_explains_what_it_shows(table):
    """On a narrow terminal changes of cost are left out, and the row of the standard deviations is not."""
    stream = io.StringIO()
    text_exporter.write_to_width(table(transpose=True), stream, 100)
    assert "SD \u0394: standard deviation" in stream.getvalue()
    assert "Brackets behind a cost" not in stream.getvalue()


@pytest.mark.parametrize("transpose", [False, True])
def test_latex_is_balanced(table, transpose):
    """Conditions, environments and groups end as often as they begin, in both forms of the cells."""
    written = _written("tex", table(transpose=transpose, label="tab:x", caption="100 % {of} \\it"))
    bare = re.sub(r"\\[\\{}%]", "", written)  # line ends first: a brace may follow one
    assert bare.count("{") == bare.count("}")
    assert len(re.findall(r"\\if(?:dim|defined)", bare)) == len(re.findall(r"\\fi(?![a-z])", bare))
    ends = [len(re.findall(rf"\\{word}\{{(tabular|minipage)\}}", bare)) for word in ("begin", "end")]
    assert ends[0] == ends[1] > 2
