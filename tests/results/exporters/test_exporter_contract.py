"""Every format carries the same numbers, shows any name as it is, and is the same bytes for the same ledger."""

from __future__ import annotations

import csv
import importlib
import io
import json
import pkgutil
import random
import re
from html import unescape
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import results.exporters
from archsweep.testing import check_exporter
from results import EXPORTERS, ablation_table

_GOLDEN = Path(__file__).parent / "golden_tables"
_HOSTILE = [
    "a|b",
    "`code`",
    "<script>alert(1)</script>",
    "[click](http://example.org)",
    "line\nbreak",
    "\x1b[2J\x07",
    "\u202egnp.exe",
    'quote " and, comma',
    "*bold* _it_ ~~no~~ $x$ &lt; \\",
    "mlp_ratio=4",
    "\u6ce8\u610f\u529b",
    "",
]


def _written(name: str, table) -> str:
    stream = io.StringIO(newline="")
    EXPORTERS[name](table, stream)
    return stream.getvalue()


def _body(name: str, text: str) -> list[str]:
    """The lines of the rows."""
    lines = text.split("\n")
    if name == "csv":
        return lines[1:-1]
    if name == "md":
        return lines[2 : lines.index("")]
    if name == "html":
        return [line for line in lines if line.startswith("<tr><td")]
    if name == "tex":
        body = lines[lines.index("\\midrule") : lines.index("\\bottomrule")]
        return [line for line in body if line.endswith(" \\\\")]
    rules = [index for index, line in enumerate(lines) if line.startswith("\u2500")]
    # A name may be empty or go on in the next line: only the first line of a row counts its seeds.
    return [line for line in lines[rules[0] + 1 : rules[1]] if re.search(r" \d/\d", line)]


def test_every_file_is_in_the_table():
    files = {module.name for module in pkgutil.iter_modules(results.exporters.__path__)}
    assert set(EXPORTERS) == files
    for name, write in EXPORTERS.items():
        assert write is importlib.import_module(f"results.exporters.{name}").write


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_what_authors_of_formats_check_holds_for_ours(name):
    check_exporter(EXPORTERS[name], for_programs=name == "csv")


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_quickstart_is_golden(name, quickstart_plan, quickstart_records):
    """The files were compared with the numbers worked out in test_ablation.py; a change is a changelog line."""
    written = _written(name, ablation_table(quickstart_plan, quickstart_records))
    assert written == (_GOLDEN / f"quickstart.{name}").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_components_are_golden(name, plan, planned, record):
    """A leave-one-out study of one seed: check marks, plain differences, no spread."""
    variants = [
        planned("all on", is_baseline=True, components={"expansion": True, "dla": True}, params_m=22.05, gmacs=4.61),
        planned("without expansion", components={"expansion": False, "dla": True}, params_m=21.9, gmacs=4.6),
        planned("without dla", components={"expansion": True, "dla": False}, params_m=5.72, gmacs=1.26),
    ]
    records = [record("all on", 0, 83.0), record("without expansion", 0, 82.9996), record("without dla", 0, 81.25)]
    table = ablation_table(plan(*variants, design="leave_one_out", seeds=[0]), records)
    assert _written(name, table) == (_GOLDEN / f"components.{name}").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_same_ledger_same_bytes_in_any_order(name, quickstart_plan, quickstart_records):
    expected = _written(name, ablation_table(quickstart_plan, quickstart_records))
    rng = random.Random(1)
    for _ in range(10):
        rng.shuffle(quickstart_records)
        assert _written(name, ablation_table(quickstart_plan, quickstart_records)) == expected


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_every_format_carries_the_same_numbers(name, quickstart_plan, quickstart_records):
    """Rounded to the two decimals that people see, in the order of the rows."""
    table = ablation_table(quickstart_plan, quickstart_records)
    body = _body(name, _written(name, table))
    assert len(body) == 4
    for row, line in zip(table.rows, body, strict=True):
        expected = [row.metrics["top1"].mean, row.metrics["top1"].std, row.params_m, row.gmacs]
        expected += [row.delta.mean, row.delta.low, row.delta.high] if row.delta else []
        shown = [float(n) for n in re.findall(r"(?<![\w.])[-+]?\d+\.\d+", line.replace("$-$", "-"))]
        for number in (number for number in expected if number is not None):
            assert any(abs(number - found) <= 0.005 for found in shown), (number, line)


def _plain_tex(text: str) -> str:
    """What a reader sees of a cell."""
    for came, seen in _TEX_SEEN:
        text = text.replace(came, seen)
    return re.sub(r"\\(?:textbf|underline)\{(.*?)\}", r"\1", text).strip()


_TEX_SEEN = [
    ("$-$", "-"),
    ("$\\pm$", "\u00b1"),
    ("\\dag{}", "\u2020"),
    ("$^{**}$", "**"),
    ("\\%", "%"),
    ("\\_", "_"),
    ("\\cmark{}", "\u2713"),
    ("\\xmark{}", "\u2717"),
    ("$<$", "<"),
]


def _cells(name: str, line: str) -> list[str]:
    """The cells of a row as a reader sees them."""
    if name == "md":
        cells = line.removeprefix("| ").removesuffix(" |").split(" | ")
        return [re.sub(r"\*\*(?=\S)(.*?)\*\*|</?ins>|\\", r"\1", cell).strip() for cell in cells]
    if name == "html":
        return [unescape(re.sub(r"<.*?>", "", cell)).strip() for cell in re.findall(r"<td.*?>(.*?)</td>", line)]
    return [_plain_tex(cell) for cell in line.removesuffix(" \\\\").split(" & ")]


def _significant(plan, planned, record):
    """Differences 1.9, 2, 2.1 (t^2 = 1200) and 0.9, 1, 1.1 (300): significant after Holm, p = 0.0017 and 0.0033."""
    variants = [
        planned("baseline", is_baseline=True, components={"x_1": True}, params_m=0.1, gmacs=0.5),
        planned("a", components={"x_1": False}, params_m=0.09, gmacs=1.25),
        planned("b", components={"x_1": True}, params_m=0.2, gmacs=0.5),
    ]
    records = []
    for name, gain in (("baseline", 0), ("a", 2), ("b", 1)):
        for seed, jitter in enumerate((-0.1, 0, 0.1)):
            value = 90 + seed + gain + jitter * (gain > 0)
            records.append(record(name, seed, value, train_seconds=3.0 + gain, device="cpu"))
    return ablation_table(plan(*variants), records)


@pytest.mark.parametrize("name", ["html", "md", "tex"])
def test_cells_say_the_same_in_every_format(name, plan, planned, record):
    """Written out by hand once, for all."""
    body = _body(name, _written(name, _significant(plan, planned, record)))
    assert ["|".join(_cells(name, line)) for line in body] == [
        "baseline|\u2713|3/3|91.00 \u00b1 1.00||||0.1000|0.500|3.0",
        "a|\u2717|3/3|93.00 \u00b1 1.10|+2.00 [+1.75, +2.25]**|0.10|better|0.0900 (-10%)|1.250 (+150%)|5.0 (+67%)",
        "b|\u2713|3/3|92.00 \u00b1 1.10|+1.00 [+0.75, +1.25]**|0.10|better|0.2000 (+100%)|0.500 (0.0%)|4.0 (+33%)",
    ]


def test_the_best_is_bold_and_the_second_underlined(plan, planned, record):
    table = _significant(plan, planned, record)
    assert "| **93.00** \u00b1 1.10 |" in _written("md", table)
    assert "| <ins>92.00</ins> \u00b1 1.10 |" in _written("md", table)
    assert "& \\textbf{93.00} $\\pm$ 1.10 &" in _written("tex", table)
    assert "& \\underline{92.00} $\\pm$ 1.10 &" in _written("tex", table)
    assert "><b>93.00</b> \u00b1 1.10</td>" in _written("html", table)
    assert "><u>92.00</u> \u00b1 1.10</td>" in _written("html", table)


def test_csv_holds_what_the_others_round(plan, planned, record):
    """p of a: 1 - sqrt(1200 / 1202), times two for Holm; of b: 1 - sqrt(300 / 302), Holm's last."""
    rows = list(csv.DictReader(io.StringIO(_written("csv", _significant(plan, planned, record)), newline="")))
    assert [row["verdict"] for row in rows] == ["", "better", "better"]
    assert float(rows[1]["p_corrected"]) == pytest.approx(2 * (1 - (1200 / 1202) ** 0.5), rel=1e-6)
    assert float(rows[2]["p_corrected"]) == pytest.approx(1 - (300 / 302) ** 0.5, rel=1e-6)
    assert float(rows[1]["top1_delta_std"]) == pytest.approx(0.1)
    assert float(rows[1]["params_m_change"]) == pytest.approx(-0.1)
    assert [rows[1][name] for name in ("p_sign_flip", "bootstrap_low", "correction", "selection")] == [
        "",
        "",
        "holm",
        "last",
    ]


def test_csv_adds_permutation_and_bootstrap_with_enough_seeds(plan, planned, record):
    """Ten positive differences: only two of 2^10 patterns are as extreme."""
    seeds = list(range(10))
    records = [record("baseline", seed, 90.0 + seed) for seed in seeds]
    records += [record("a", seed, 91.0 + seed + seed % 3 / 10) for seed in seeds]
    table = ablation_table(plan(planned("baseline", is_baseline=True), planned("a"), seeds=seeds), records)
    row = list(csv.DictReader(io.StringIO(_written("csv", table), newline="")))[1]
    assert float(row["p_sign_flip"]) == 2 / 2**10
    assert 1.0 < float(row["bootstrap_low"]) < float(row["top1_delta"]) < float(row["bootstrap_high"]) < 1.2


def test_rows_of_one_parameter_stand_together(plan, planned):
    """`one_factor` with two parameters: rules between them; the names say which is which."""
    variants = [planned("baseline", is_baseline=True)]
    variants += [planned(f"depth={depth}", changes={"arch.depth": depth}) for depth in (4, 8)]
    variants += [planned("heads=2", changes={"arch.num_heads": 2})]
    table = ablation_table(plan(*variants), [])
    assert _written("tex", table).count("\\midrule\n") == 3
    assert _written("html", table).count("<tbody>") == 3
    assert re.search(r"depth=8 .*\n\nheads=2", _written("text", table))


def test_studies_have_headings(plan, planned):
    variants = [planned("baseline", is_baseline=True), planned("a", study="A & B"), planned("b", study="C")]
    table = ablation_table(plan(*variants), [])
    assert "\\multicolumn{2}{l}{\\emph{A \\& B}} \\\\\n" in _written("tex", table)
    assert "| *A & B* |  |\n" in _written("md", table)
    assert '<th colspan="2" scope="rowgroup">A &amp; B</th>' in _written("html", table)
    assert "\nA & B:\na " in _written("text", table)


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_a_table_without_rows_has_its_header(name, plan):
    lines = _written(name, ablation_table(plan(), [])).split("\n")
    starts = {"md": "| variant", "html": "<thead><tr><th"}
    header = next(line for line in lines if line.startswith(starts.get(name, "variant")))
    assert "variant" in header
    assert "seeds" in header


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_hostile_names_break_no_line(name, plan, planned, record):
    variants = [planned(text, variant_id=str(index)) for index, text in enumerate(_HOSTILE)]
    records = [record(text, 0, 50.0, variant_id=str(index), trial_id=str(index)) for index, text in enumerate(_HOSTILE)]
    written = _written(name, ablation_table(plan(*variants, seeds=[0]), records))
    if name == "csv":
        assert [row["variant"] for row in csv.DictReader(io.StringIO(written, newline=""))] == _HOSTILE
        return
    assert len(_body(name, written)) == len(_HOSTILE)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", written)


def test_markdown_shows_hostile_names_literally(plan, planned):
    variants = [planned(text, variant_id=str(index)) for index, text in enumerate(_HOSTILE)]
    body = _body("md", _written("md", ablation_table(plan(*variants, seeds=[0]), [])))
    assert [line.removesuffix(" | 0/1 |").removeprefix("| ") for line in body] == [
        r"a\|b",
        r"\`code\`",
        r"\<script\>alert(1)\</script\>",
        r"[click\](http://example.org)",
        "line break",
        r"\\x1b[2J\\x07",
        r"\\u202egnp.exe",
        'quote " and, comma',
        r"\*bold\* \_it\_ \~\~no\~\~ \$x\$ \&lt; \\",
        "mlp_ratio=4",
        "\u6ce8\u610f\u529b",
        "",
    ]


def test_words_of_a_header_stay_whole(plan, planned, record):
    """`local kernel` above a check mark: two lines, and no third for the end of the second word."""
    names = ["local kernel", *(f"a component of the name {letter}" for letter in "bcdefg")]
    variants = [
        planned(f"variant {number}", components=dict.fromkeys(names, bool(number)), is_baseline=not number)
        for number in range(2)
    ]
    records = [record(f"variant {number}", seed, 50.0 + seed) for number in range(2) for seed in range(3)]
    written = _written("text", ablation_table(plan(*variants, design="leave_one_out"), records))
    header = written[: written.index("\u2500")]
    assert all(word in header.split() for word in ("local", "kernel", "component", "name"))


def test_text_aligns_wide_characters(plan, planned):
    """Each of the three characters takes two columns of a terminal: the seeds stand below each other."""
    variants = [planned("abcdef", variant_id="1"), planned("\u6ce8\u610f\u529b", variant_id="2")]
    first, second = _body("text", _written("text", ablation_table(plan(*variants, seeds=[0]), [])))
    assert first.index("0/1") == second.index("0/1") + 3


def test_text_keeps_to_100_columns_with_long_names(plan, planned, record):
    names = [f"arch.depth={n} arch.num_heads=4 arch.attention.expansion=1.5 train.lr=0.001 seed block" for n in (4, 6)]
    records = [record(name, seed, 90.0 + seed, train_seconds=1234.5) for name in names for seed in (0, 1, 2)]
    variants = [planned(name, params_m=22.1, gmacs=4.6, is_baseline=name is names[0]) for name in names]
    written = _written("text", ablation_table(plan(*variants), records))
    assert max(map(len, written.split("\n"))) <= 100
    assert "arch.attention.expansion=1.5" in written


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4),
    values=st.lists(st.floats(0, 100), min_size=1, max_size=4),
)
@example(names=["\r"], values=[0.1])
def test_csv_gives_back_what_was_put_in(plan, planned, record, names, values):
    """Names of any characters and every digit of the numbers. A lone carriage return once ended the line."""
    ids = list(map(str, range(len(names))))
    variants = [planned(name, variant_id=key, changes={"a": name}) for key, name in zip(ids, names, strict=True)]
    records = [record("", 0, value, variant_id=key, trial_id=key) for key, value in zip(ids, values, strict=False)]
    written = _written("csv", ablation_table(plan(*variants, seeds=[0]), records))
    rows = list(csv.DictReader(io.StringIO(written, newline="")))
    assert [_as_written(row["variant"]) for row in rows] == names
    assert [json.loads(row["changes"]) for row in rows] == [{"a": name} for name in names]
    assert [float(row["top1_mean"]) for row in rows if row["top1_mean"]] == values[: len(names)]


def _as_written(cell):
    """The cell without its guard, by decision 9: one apostrophe less of those before `=`, `@`, a tab, `+` or `-`."""
    return cell[1:] if re.match("'+[=@\t\r+\uff1d\uff20\uff0b\uff0d-]", cell) else cell


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.text(), min_size=1, max_size=4), component=st.text())
@pytest.mark.parametrize("name", ["html", "md", "tex", "text"])
def test_any_name_gives_one_row(plan, planned, name, names, component):
    """Whatever a variant or a component is called: every row is there, and nothing invisible is printed."""
    variants = [planned(text, variant_id=str(index), components={component: True}) for index, text in enumerate(names)]
    written = _written(name, ablation_table(plan(*variants, seeds=[0]), []))
    written = written.split("% The same with two lines a cell")[0]  # LaTeX has the rows a second time
    rows = [line for line in written.split("\n") if re.search(r"(?: |>)0/1(?: \||<| &| \\\\|$)", line)]
    assert len(rows) == len(names)
    assert all(character.isprintable() for character in written.replace("\n", ""))
