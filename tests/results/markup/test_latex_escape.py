"""LaTeX: nothing in a name is interpreted, and the table compiles in a minimal document."""

from __future__ import annotations

import io
import re
import shutil
import subprocess

import pytest

from results import EXPORTERS, TableFormat, ablation_table
from results.exporters.tex import PACKAGES
from results.markup.latex_escape import latex, latex_number

_HOSTILE = [
    r"\input{/etc/passwd}",
    r"\end{tabular}\end{table}\stop",
    "a & b \\\\ c",
    "$x_1^2$ # 100 % ~ {open",
    "[optional] *star",
    "--dash ,,quote'' ``ticks`` \"straight\" <less> |pipe| ?`!`",
    "\u6ce8\u610f\u529b \U0001f600 \u03b1=0.5 na\u00efve \u00c5 \u0141\u00f3d\u017a \u0394",
    "\x1b[2J \u202egnp",
    "a very long name that goes on and on: arch.attention=refiner expansion=6 kernel_size=3 depth=12 num_heads=6",
    "^^41",
    "",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mlp_ratio=4", r"mlp\_ratio=4"),
        ("50 % & #1 $", r"50 \% \& \#1 \$"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("10^9", "10$^{9}$"),
        ("^^41", r"\textasciicircum{}\textasciicircum{}41"),
        ("a--b", "a-{}-b"),
        ("[x]", "{}[x]"),
        ("* p", "{}* p"),
        ("a < b", "a $<$ b"),
        ("na\u00efve \u03b1", r"na\"{\i}ve $\alpha$"),
        ("\u0394 \u00b1 \u2191 \u2713", r"$\Delta$ $\pm$ $\uparrow$ \cmark{}"),
        ("a \u6ce8", "a [U+6CE8]"),
        ("line\nbreak", "line break"),
    ],
)
def test_text_is_set_as_it_reads(text, expected):
    assert latex(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("-0.25", "$-$0.25"), (" [-1.00, +2.00]**", " [$-$1.00, +2.00]$^{**}$"), (" (-10%)", r" ($-$10\%)")],
)
def test_numbers_get_true_minus_signs_and_raised_stars(text, expected):
    assert latex_number(text) == expected


def _compiled(snippet: str, folder, options: str = "") -> str:
    """The text of the pages, with layout."""
    document = [rf"\documentclass[{options}]{{article}}", rf"\usepackage{{{','.join(PACKAGES)}}}"]
    floats = ("table", "table*", "sidewaystable*")
    document += [rf"\AddToHook{{env/{name}/begin}}{{\typeout{{FLOAT {name}}}}}" for name in floats]
    document.append(r"\begin{document}")
    source = "\n".join([*document, snippet, r"\end{document}", ""])
    (folder / "table.tex").write_text(source, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "table.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    log = (folder / "table.log").read_text(errors="replace")
    # Wider than the line by more than a point: the reader would see it.
    assert [float(size) for size in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log) if float(size) > 1] == []
    assert "Missing character" not in log
    assert "Float too large" not in log
    if shutil.which("pdftotext") is None:
        return ""
    command = ["pdftotext", "-layout", "table.pdf", "-"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


needs_pdflatex = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="pdflatex is not installed (Debian: texlive-latex-recommended)"
)


def _written(table) -> str:
    stream = io.StringIO()
    EXPORTERS["tex"](table, stream)
    return stream.getvalue()


@needs_pdflatex
def test_the_quickstart_compiles_and_shows_its_numbers(quickstart_plan, quickstart_records, tmp_path):
    page = _compiled(_written(ablation_table(quickstart_plan, quickstart_records)), tmp_path)
    if page:
        # Cells of two lines, which pdftotext gives as two lines of the page: the words of the row, in any order.
        row = page[page.index("attention=refiner") : page.index("attention=groupmix")].replace("\u2212", "-")
        name = "attention=refiner expansion=6 3/3 99.00 \u00b1 2.00"
        numbers = "+2.00 [-0.48, +4.48] 1.00 inconclusive 83.00 [1] (+16.00) 0.1071 (+2.8%) 0.00331 (+82%) 16.0 (+78%)"
        assert sorted(row.split()) == sorted(f"{name} {numbers}".split())


@needs_pdflatex
def test_hostile_names_compile_and_are_shown(plan, planned, record, tmp_path):
    """As variants, as components, as sweep, dataset, source and failure message at once."""
    variants = [
        planned(text, variant_id=str(index), is_baseline=index == 0, components={_HOSTILE[3]: bool(index % 2)})
        for index, text in enumerate(_HOSTILE)
    ]
    records = [
        record(text, 0, 50.0, variant_id=str(i), trial_id=str(i), device=text) for i, text in enumerate(_HOSTILE)
    ]
    records.append(record("x", 1, variant_id="1", failure={"type": _HOSTILE[0], "message": _HOSTILE[4]}))
    published = [{"when": {"a&b": 1}, "values": {"top1": 1.0}, "source": text} for text in _HOSTILE]
    hostile = plan(*variants, seeds=[0, 1], sweep=_HOSTILE[1], dataset=_HOSTILE[2], published=published)
    page = _compiled(_written(ablation_table(hostile, records)), tmp_path)
    if page:
        assert r"\end{tabular}\end{table}\stop" in page
        # TeX draws an underscore as a line, which is no character of the page.
        assert "$x 1^2$ # 100 % ~ {open" in page.replace("\u02c6", "^").replace("\u02dc", "~")
        assert "[optional] *star" in page
        assert "[U+6CE8][U+610F][U+529B]" in page


@needs_pdflatex
def test_two_tables_stand_in_one_document(quickstart_plan, quickstart_records, tmp_path):
    snippet = _written(ablation_table(quickstart_plan, quickstart_records))
    page = _compiled(snippet + snippet, tmp_path)
    assert page.count("Table 2") in (0, 1)


@needs_pdflatex
@pytest.mark.parametrize("columns", [("variant", "top1", "delta"), ("variant", "top1", "delta", "params_m", "gmacs")])
def test_chosen_columns_fit_one_column_of_a_paper(columns, quickstart_plan, quickstart_records, tmp_path):
    """Four rows in a document of two columns: as they are, or scaled down a little."""
    chosen = TableFormat(columns=columns, label="tab:attention", digits={"*": 1})
    table = ablation_table(quickstart_plan.model_copy(update={"table": chosen}), quickstart_records)
    _compiled(_written(table) + r"Table~\ref{tab:attention}", tmp_path, "twocolumn")
    log = (tmp_path / "table.log").read_text(errors="replace")
    assert re.findall(r"^FLOAT (.*)$", log, re.MULTILINE) == ["table"]


@needs_pdflatex
@pytest.mark.parametrize(
    ("num_arms", "costly", "options", "chosen"),
    [
        (1, False, "", "table"),
        (1, False, "twocolumn", "table"),  # names in two lines
        (3, True, "", "table*"),  # few rows: two lines a cell instead of a page of their own
        (3, True, "twocolumn", "table*"),
        (6, True, "", "sidewaystable*"),
        (6, True, "twocolumn", "sidewaystable*"),
        (30, True, "", "table*"),  # sideways it would run off the page
    ],
)
def test_wide_tables_turn_instead_of_shrinking(num_arms, costly, options, chosen, plan, planned, record, tmp_path):
    costs = {"params_m": 22.05, "gmacs": 4.61} if costly else {}
    names = ["baseline", *(f"attention=refiner expansion={number} depth=12" for number in range(num_arms))]
    variants = [planned(name, is_baseline=index == 0, **costs) for index, name in enumerate(names)]
    seeds = [0, 1, 2] if costly else [0]
    records = [
        record(name, seed, 90.0 + seed * len(name) / 20, train_seconds=100.0 if costly else None)
        for name in names
        for seed in seeds
    ]
    _compiled(_written(ablation_table(plan(*variants, seeds=seeds), records)), tmp_path, options)
    log = (tmp_path / "table.log").read_text(errors="replace")
    assert re.findall(r"^FLOAT (.*)$", log, re.MULTILINE) == [chosen]
