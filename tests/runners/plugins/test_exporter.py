"""A format of the table from a file of the user's."""

from __future__ import annotations


def test_a_table_in_the_format_of_a_plug_in(type_, example, finished_run):
    """As Org mode writes a table: a rule of dashes and pluses below the header."""
    file = example("my_exporter.py")
    chosen = ["--columns", "variant,top1", "--digits", "1", "--plugin", file]
    shown = type_("table", finished_run, "--format", "org", *chosen).stdout
    assert shown.splitlines()[:4] == [
        "| variant | top1 (%) \u2191 |",
        "|---+---|",
        "| baseline | 90.0 |",
        "| deep | 91.5 |",
    ]
    type_("table", finished_run, "--format", "org", *chosen, "-o", "table.org")
    assert (file.parent / "table.org").read_text() == shown


def test_an_unknown_format_names_the_known_ones(type_, example, finished_run):
    err = type_("table", finished_run, "--format", "ogr", "--plugin", example("my_exporter.py"), returns=2).stderr
    assert err == (
        "archsweep: 1 problem\n\n--format: there is no format 'ogr'\n"
        "  known: csv, html, md, org, tex, text.  Did you mean 'org'?\n"
    )


def test_a_failure_names_the_line_and_leaves_no_file(type_, example, finished_run):
    file = example("my_exporter.py", **{'f"- {visible(note)}\\n"': "note / 2"})
    line = file.read_text().splitlines().index("        stream.write(note / 2)") + 1
    err = type_("table", finished_run, "-f", "org", "--plugin", file, "-o", "table.org", returns=2).stderr
    assert err == (
        f"archsweep: 1 problem\n\n{file}:{line}: the exporter 'org' raised TypeError: "
        "unsupported operand type(s) for /: 'str' and 'int'\n"
    )
    assert not (file.parent / "table.org").exists()


def test_a_name_of_ours_and_what_is_no_function_are_refused(type_, example, finished_run):
    """`csv` is found only when the table of formats is imported, which is after the plug-in."""
    first = example("my_exporter.py", to="first.py", **{'{"org": write}': '{"csv": write}'})
    err = type_("table", finished_run, "--plugin", first, returns=2).stderr
    assert err == (
        f"archsweep: 1 problem\n\n{first}: PLUGINS: archsweep has the exporter 'csv' itself\n  rename yours\n"
    )
    second = example("my_exporter.py", to="second.py", **{'{"org": write}': '{"org": "write", "ps": len}'})
    err = type_("table", finished_run, "--plugin", second, returns=2).stderr
    assert err == (
        f"archsweep: 2 problems\n\n"
        f"{second}: PLUGINS: the exporter 'org' must be a function write(table, stream), but is 'write', an object of "
        "str\n"
        f"{second}: PLUGINS: the exporter 'ps' cannot be called with (table, stream)\n"
        "  it must be a function write(table, stream)\n"
    )


def test_two_plug_ins_of_one_format_are_refused(type_, example, finished_run):
    first, second = example("my_exporter.py"), example("my_exporter.py", to="other.py")
    err = type_("table", finished_run, "--plugin", first, "--plugin", second, returns=2).stderr
    assert err == (
        f"archsweep: 1 problem\n\n{second}: PLUGINS: the exporter 'org' is that of {first} already\n  rename one\n"
    )
