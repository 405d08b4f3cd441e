"""`archsweep table` from the command line: its options, those of the sweep, and the width of the terminal."""

from __future__ import annotations

import pytest

from results import EXPORTERS, LedgerWriter, PlannedVariant, RunPlan, TableFormat, TrialRecord, write_plan, write_tables


@pytest.fixture
def make_run(tmp_path):
    def make_run_(**fields):
        changes = {"baseline": {}, "deep": {"arch.depth": 6}, "flat": {"arch.depth": 2}}
        variants = [
            PlannedVariant(name=n, variant_id=f"id-{n}", changes=c, is_baseline=n == "baseline", params_m=1.5)
            for n, c in changes.items()
        ]
        plan = RunPlan(sweep="s", design="list", metric="top1", seeds=[0], variants=variants, **fields)
        write_plan(tmp_path / "run", plan)
        with LedgerWriter(tmp_path / "run") as ledger:
            for name, depth, top1 in (("baseline", 4, 90.0), ("deep", 6, 91.5), ("flat", 2, 88.25)):
                trial = {"trial_id": f"{name}-0", "variant_id": f"id-{name}", "variant": name, "seed": 0}
                spec = {"seed": 0, "arch": {"depth": depth}}
                more = {"status": "completed", "spec": spec, "metrics": {"top1": top1, "loss": 0.5}}
                ledger.append(TrialRecord.model_validate(trial | more))
        return tmp_path / "run"

    return make_run_


def rows_of(output: str) -> list[str]:
    return [line for line in output.split("\n") if line.startswith("|") and ":---" not in line]


def test_columns_names_digits_and_order(archsweep, make_run):
    run = make_run()
    chosen = ["--columns", "variant, arch.depth,top1", "--rename", "arch.depth=Depth", "--digits", "1"]
    done = archsweep("table", run, "-f", "md", *chosen, "--sort", "arch.depth:desc", cwd=run)
    assert done.returncode == 0
    assert rows_of(done.stdout) == [
        "| variant | Depth | top1 (%) \u2191 |",
        "| baseline | 4 | 90.0 |",
        "| deep | 6 | 91.5 |",
        "| flat | 2 | 88.2 |",
    ]


def test_the_command_line_replaces_what_the_sweep_says(archsweep, make_run):
    """Option by option; names and digits one by one, and those of columns that are gone go, too."""
    run = make_run(
        table=TableFormat(
            columns=("variant", "top1", "loss"),
            rename={"top1": "Acc", "loss": "Cross-entropy"},
            digits={"top1": 0, "loss": 1},
            caption="Of the sweep",
            transpose=True,
        )
    )
    shown = rows_of(archsweep("table", run, "-f", "md", cwd=run).stdout)
    assert shown == [
        "| variant | baseline | deep | flat |",
        "| Acc \u2191 | 90 | 92 | 88 |",
        "| Cross-entropy \u2193 | 0.5 | 0.5 | 0.5 |",
    ]
    options = ["--columns", "variant,top1", "--digits", "top1=1", "--caption", "Mine", "--no-transpose"]
    done = archsweep("table", run, "-f", "md", *options, cwd=run)
    assert rows_of(done.stdout) == [
        "| variant | Acc \u2191 |",
        "| baseline | 90.0 |",
        "| deep | 91.5 |",
        "| flat | 88.2 |",
    ]
    assert done.stdout.startswith("**Mine**\n")
    assert "Of the sweep" not in done.stdout


def test_the_run_has_its_own_tables_by_its_section(make_run):
    """Its CSV is complete: programs read it."""
    run = make_run(table=TableFormat(columns=("variant", "top1"), label="tab:own", caption="Own"))
    write_tables(run)
    assert "\\label{tab:own}" in (run / "table.tex").read_text()
    assert "| variant | top1 (%) \u2191 |" in (run / "table.md").read_text()
    assert "<p><b>Own</b></p>" in (run / "table.html").read_text()
    assert (run / "table.csv").read_text().startswith("variant,variant_id,is_baseline,status,changes,")


def test_a_plan_without_a_section_is_written_as_before(make_run):
    assert '"table"' not in (make_run() / "plan.json").read_text()
    assert '"table"' in (make_run(table=TableFormat(sort="top1")) / "plan.json").read_text()


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_every_problem_is_reported_in_every_format(archsweep, make_run, name):
    run = make_run()
    wrong = ["--columns", "variant,detla", "--sort", "tpo1", "--digits", "x", "--rename", "top1"]
    done = archsweep("table", run, "-f", name, *wrong, cwd=run)
    assert (done.returncode, done.stdout) == (2, "")
    for text in (
        *("--columns: unknown column 'detla'", "Did you mean 'delta'?", "--sort: unknown column 'tpo1'"),
        *("--digits: must be N or METRIC=N, but got 'x'", "--rename: must be COLUMN=TEXT, but got 'top1'"),
    ):
        assert text in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-f", "md", "--label", "tab:a"], "--label: only LaTeX has labels"),
        (["-f", "tex", "--label", "a}b"], "--label: not a label that LaTeX takes: 'a}b'"),
        (["-f", "csv", "--digits", "1"], "--digits: has no effect on CSV"),
        (["-f", "csv", "--transpose"], "--transpose: has no effect on CSV"),
        (["--json", "--digits", "1"], "--digits: has no effect on JSON"),
        (["--json", "--no-transpose"], "--transpose: has no effect on JSON"),
        (["--columns", ","], "--columns: names no column"),
        (["--columns", "variant,top5"], "--columns: unknown column 'top5'"),  # no trial has it
        (["--columns", "variant,delta:top5"], "--columns: unknown column 'delta:top5'"),
        (["--columns", "variant,accuracy/cat"], "--columns: unknown column 'accuracy/cat'"),
        (["--rename", "top1=A", "--rename", "top1=B"], "--rename: 'top1' is given twice"),
        (["--columns", "variant", "--rename", "top1=A"], "--rename: 'top1' is no column of the table"),
        (["--caption", " "], "--caption: an empty caption"),
    ],
)
def test_what_has_no_effect_is_refused(archsweep, make_run, options, message):
    run = make_run()
    done = archsweep("table", run, *options, cwd=run)
    assert done.returncode == 2
    assert message in done.stderr


def test_csv_has_the_chosen_columns_with_all_digits(archsweep, make_run):
    run = make_run()
    done = archsweep("table", run, "-f", "csv", "--columns", "variant,top1", "--sort", "top1:asc", cwd=run)
    assert done.stdout == "variant,top1_mean,top1_std\nbaseline,90.0,\nflat,88.25,\ndeep,91.5,\n"


def test_a_file_has_the_format_of_its_ending_unless_one_is_given(archsweep, make_run, tmp_path):
    """Symptom: `table RUN -o table.tex` wrote the table of a terminal, which LaTeX does not read."""
    run = make_run()
    archsweep("table", run, "-o", tmp_path / "a.TEX", cwd=run)
    assert (tmp_path / "a.TEX").read_text() == archsweep("table", run, "-f", "tex", cwd=run).stdout
    archsweep("table", run, "-o", tmp_path / "b.tex", "-f", "csv", cwd=run)
    assert (tmp_path / "b.tex").read_text() == archsweep("table", run, "-f", "csv", cwd=run).stdout
    done = archsweep("table", run, "-o", tmp_path / "c.csv", "--transpose", cwd=run)
    assert "--transpose: has no effect on CSV" in done.stderr


def test_text_has_the_width_of_the_terminal(archsweep, make_run, monkeypatch):
    """`archsweep` is called with COLUMNS=120; a file has no width."""
    run = make_run(published=[{"when": {"arch.depth": 6}, "values": {"top1": 1.0}, "source": "a paper " * 30}])
    shown = archsweep("table", run, cwd=run).stdout
    assert max(map(len, shown.split("\n"))) <= 120
    archsweep("table", run, "-o", run / "table.txt", cwd=run)
    assert "Too wide" not in (run / "table.txt").read_text()
