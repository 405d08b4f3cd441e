"""`archsweep table`: the ablation table of any run directory, also while it runs, in the format that a paper needs.

Options replace what the sweep's section `table` says, each by itself; `--rename` and `--digits` name by name. All their
problems are reported at once.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from runners.cli.arguments import AsJson, RunsArgument
from runners.cli.terminal import terminal_width
from search_space.parsing.errors import Problem, SpecError, did_you_mean
from search_space.plugins.contracts import member_failed

if TYPE_CHECKING:
    from results import AblationTable

__all__ = ["table"]


_OWN = ("csv", "html", "md", "tex", "text")


def table(
    runs: RunsArgument,
    format_: Annotated[
        str | None,
        typer.Option(
            *("--format", "-f"),
            metavar="FORMAT",
            help="text, csv, md, tex, html, or that of a plug-in. Default: the ending of --output, else text.",
        ),
    ] = None,
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
    from results.store.files import readable_write_errors
    from results.store.ledger import gc_paused

    if format_ is None:
        ending = "" if output is None else output.suffix.removeprefix(".").lower()
        format_ = ending if ending in EXPORTERS else "text"
    asked = _Asked(format_, columns, tuple(rename or ()), tuple(digits or ()), sort, label, caption, transpose, as_json)
    with gc_paused():
        opened = [Run.open(run, curves=False) for run in runs]
        made = _as_asked(glue_table(opened) if glue else table_of_runs(opened), asked)
        if as_json:
            _write_json(made, asked, output)
            return
        if output is None:
            _write(made, format_, sys.stdout, terminal_width(sys.stdout))
            return
        whole = io.StringIO(newline="")  # no file where a plug-in fails
        _write(made, format_, whole, None)
        # Not replaced as a run's own files are: it may be a pipe or a device.
        with readable_write_errors(output), output.open("w", encoding="utf-8", newline="") as stream:
            stream.write(whole.getvalue())


def _write(made: AblationTable, format_: str, stream: TextIO, width: int | None) -> None:
    from results import EXPORTERS
    from results.exporters import text

    if format_ == "text":
        text.write_to_width(made, stream, width)
        return
    try:
        EXPORTERS[format_](made, stream)
    except (SpecError, OSError):
        raise
    except Exception as err:
        if format_ in _OWN:
            raise
        raise SpecError(member_failed("exporter", format_, err)) from err


def _write_json(made: AblationTable, asked: _Asked, output: Path | None) -> None:
    from runners.cli.documents.document import write_document
    from runners.cli.documents.of_runs import table_document

    if asked.format != "text" or output is not None:
        raise typer.BadParameter("goes to stdout, one format at a time", param_hint="--json")
    write_document(table_document(made), sys.stdout)


@dataclass(frozen=True)
class _Asked:
    """The options as they were written."""

    format: str
    columns: str | None
    rename: Sequence[str]
    digits: Sequence[str]
    sort: str | None
    label: str | None
    caption: str | None
    transpose: bool | None
    as_json: bool


def _as_asked(made: AblationTable, asked: _Asked) -> AblationTable:
    """The table with the format of the command line laid over that of the sweep.

    Raises:
        SpecError: an option cannot be read, names no column, or has no effect in the output format.
    """
    from results import EXPORTERS
    from results.table.table_options import TableOptions, option_problems, with_options

    problems: list[Problem] = list(_without_effect(asked))
    if asked.format not in EXPORTERS:
        hint = did_you_mean(asked.format, EXPORTERS)
        problems.append(Problem(f"there is no format {asked.format!r}", where="--format", hint=hint))
    rename, digits = _pairs(asked.rename, made, problems), _digits(asked.digits, problems)
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
    if asked.label is not None and asked.format in _OWN and asked.format != "tex":
        yield Problem("only LaTeX has labels", where="--label", hint="--format tex")
    options = {"digits": bool(asked.digits), "transpose": asked.transpose is not None}
    if asked.as_json:
        message = "has no effect on JSON, whose numbers are unrounded and whose rows are the variants"
    elif asked.format == "csv":
        message = "has no effect on CSV, which programs read: its names and digits are always the same"
        options |= {"rename": bool(asked.rename), "caption": asked.caption is not None}
    else:
        return
    for name, is_given in options.items():
        if is_given:
            yield Problem(message, where=f"--{name}", hint="--columns and --sort choose its columns and order")


def _pairs(texts: Sequence[str], made: AblationTable, problems: list[Problem]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, separator, value = (part.strip() for part in _parted(text, made))
        if not separator or not name:
            problems.append(Problem(f"must be COLUMN=TEXT, but got {text!r}", where="--rename"))
        elif name in found:
            problems.append(Problem(f"{name!r} is given twice", where="--rename", hint="name it once"))
        else:
            found[name] = value
    return found


def _parted(text: str, made: AblationTable) -> tuple[str, str, str]:
    """Column, `=` and name; a column of a block may have the sign itself: `delta@fold=0=First fold`."""
    for block in made.blocks.names if made.blocks else ():
        column, separator, value = text.partition(f"@{block}=")
        if separator and "=" not in column:
            return f"{column}@{block}", "=", value
    return text.partition("=")


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
