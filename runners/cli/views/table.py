"""`archsweep table`: the ablation table of any run directory, also while it runs, in the format that a paper needs.

Options replace what the sweep's section `table` says, each by itself; `--rename` and `--digits` name by name. All their
problems are reported at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runners.cli.arguments import AsJson, RunsArgument
from runners.cli.terminal import terminal_width
from search_space.parsing.errors import Problem, SpecError

if TYPE_CHECKING:
    from results import AblationTable

__all__ = ["table"]


class Format(StrEnum):
    text = "text"
    csv = "csv"
    md = "md"
    tex = "tex"
    html = "html"


def table(
    runs: RunsArgument,
    format_: Annotated[Format, typer.Option("--format", "-f", help="Output format.")] = Format.text,
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="LIST", help="Columns in this order: variant,top1,delta,arch.depth,..."),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", metavar="COLUMN=TEXT", help="Name a column. Repeatable."),
    ] = None,
    digits: Annotated[
        list[str] | None,
        typer.Option("--digits", metavar="[METRIC=]N", help="Decimals of every metric, or of one. Repeatable."),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="COLUMN[:asc|desc]", help="Order of the rows below the baseline."),
    ] = None,
    label: Annotated[str | None, typer.Option("--label", help="Label of the LaTeX table: tab:attention.")] = None,
    caption: Annotated[
        str | None,
        typer.Option("--caption", help="Title instead of the sweep's name; explanations stay."),
    ] = None,
    transpose: Annotated[
        bool | None, typer.Option("--transpose/--no-transpose", help="A column for every variant.", show_default=False)
    ] = None,
    glue: Annotated[
        bool, typer.Option("--glue", help="The average over runs of single tasks of GLUE, as one table.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead of stdout.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the ablation table of one or several runs.

    In a table of several runs each is compared with its own baseline.
    """
    from results import EXPORTERS, Run, glue_table, table_of_runs
    from results.exporters import text
    from results.store.files import readable_write_errors
    from results.store.ledger import gc_paused

    asked = _Asked(format_, columns, tuple(rename or ()), tuple(digits or ()), sort, label, caption, transpose)
    with gc_paused():
        opened = [Run.open(run, curves=False) for run in runs]
        made = _as_asked(glue_table(opened) if glue else table_of_runs(opened), asked)
        if as_json:
            _write_json(made, asked, output)
            return
        if output is None and format_ is Format.text:
            text.write_to_width(made, sys.stdout, terminal_width(sys.stdout))
            return
        if output is None:
            EXPORTERS[format_.value](made, sys.stdout)
            return
        # Not replaced as a run's own files are: it may be a pipe or a device.
        with readable_write_errors(output), output.open("w", encoding="utf-8", newline="") as stream:
            if format_ is Format.text:
                text.write_to_width(made, stream, None)
            else:
                EXPORTERS[format_.value](made, stream)


def _write_json(made: AblationTable, asked: _Asked, output: Path | None) -> None:
    from runners.cli.documents.document import write_document
    from runners.cli.documents.of_runs import table_document

    if asked.format is not Format.text or output is not None:
        raise typer.BadParameter("goes to stdout, one format at a time", param_hint="--json")
    write_document(table_document(made), sys.stdout)


@dataclass(frozen=True)
class _Asked:
    """The options as they were written."""

    format: Format
    columns: str | None
    rename: Sequence[str]
    digits: Sequence[str]
    sort: str | None
    label: str | None
    caption: str | None
    transpose: bool | None


def _as_asked(made: AblationTable, asked: _Asked) -> AblationTable:
    """The table with the format of the command line laid over that of the sweep.

    Raises:
        SpecError: an option cannot be read, names no column, or has no effect in the output format.
    """
    from results.table.table_options import TableOptions, option_problems, with_options

    problems: list[Problem] = list(_without_effect(asked))
    rename, digits = _pairs(asked.rename, problems), _digits(asked.digits, problems)
    given = None if asked.columns is None else tuple(name.strip() for name in asked.columns.split(",") if name.strip())
    if given == ():
        problems.append(Problem("names no column", where="--columns", hint="for example --columns variant,top1,delta"))
    options = TableOptions(
        columns=given,
        rename=rename,
        digits=digits,
        sort=asked.sort,
        label=asked.label,
        caption=asked.caption,
        transpose=asked.transpose,
    )
    problems += option_problems(made, options, prefix="--")
    if problems:
        raise SpecError(problems)
    return with_options(made, options)


def _without_effect(asked: _Asked) -> Iterator[Problem]:
    if asked.label is not None and asked.format is not Format.tex:
        yield Problem("only LaTeX has labels", where="--label", hint="--format tex")
    if asked.format is not Format.csv:
        return
    options = {
        "rename": asked.rename,
        "digits": asked.digits,
        "caption": asked.caption is not None,
        "transpose": asked.transpose is not None,
    }
    for name, is_given in options.items():
        if is_given:
            message = "has no effect on CSV, which programs read: its names and digits are always the same"
            yield Problem(message, where=f"--{name}", hint="--columns and --sort choose its columns and order")


def _pairs(texts: Sequence[str], problems: list[Problem]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, separator, value = (part.strip() for part in text.partition("="))
        if not separator or not name:
            problems.append(Problem(f"must be COLUMN=TEXT, but got {text!r}", where="--rename"))
        elif name in found:
            problems.append(Problem(f"{name!r} is given twice", where="--rename", hint="name it once"))
        else:
            found[name] = value
    return found


def _digits(texts: Sequence[str], problems: list[Problem]) -> dict[str, int]:
    from search_space.settings.table_columns import EVERY_METRIC

    found: dict[str, int] = {}
    for text in texts:
        name, _, number = (part.strip() for part in (text if "=" in text else f"{EVERY_METRIC}={text}").partition("="))
        if not number.isascii() or not number.isdigit():
            problems.append(Problem(f"must be N or METRIC=N, but got {text!r}", where="--digits"))
        elif name in found:
            problems.append(Problem(f"{name!r} is given twice", where="--digits", hint="name it once"))
        else:
            found[name] = int(number)
    return found
