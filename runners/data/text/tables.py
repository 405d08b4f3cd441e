"""Tables of text on disk: CSV, TSV, parquet and Arrow files with named columns, read whole, with the line of every row.

CSV files have quotes as spreadsheets write them (RFC 4180); in TSV files a quote is a character like any other, as in
the files of GLUE, unless the whole file was written with quotes (`quoted_tsv.py`). Text is UTF-8. Arrow files are those
of `save_to_disk` of Hugging Face datasets.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runners.data.text.quoted_tsv import quoted_rows
from search_space.parsing.errors import Problem, SpecError, did_you_mean, reason_of

__all__ = ["SUFFIXES", "Table", "read_table", "table_problem"]

SUFFIXES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Table:
    """Rows of a file.

    Attributes:
        path: the file.
        columns: their names.
        rows: as many values as columns each; strings, or of a parquet file what it holds.
        lines: where each row begins in the file, counted from 1; of a parquet file its number.
        short: number of rows that were left out because they have too few values.
        is_quoted: whether it is a TSV file whose values were in quotes.
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[Sequence[Any]]
    lines: list[int]
    short: int = 0
    is_quoted: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the file would not expect, as sentences."""
        short = f"{self.path.name}: {self.short} rows with too few values are left out"
        quoted = f"{self.path.name}: quotes around values are not read, doubled ones inside are one quote"
        return (short,) * bool(self.short) + (quoted,) * self.is_quoted

    def column(self, name: str, *, key: str = "") -> list[Any]:
        """Values of a column.

        Args:
            key: option of the dataset that named it, for the message.

        Raises:
            SpecError: there is none of this name.
        """
        if name not in self.columns:
            where = f"; {key} names it" if key else ""
            raise table_problem(self.path, f"has no column {name!r}{where}", did_you_mean(name, self.columns))
        at = self.columns.index(name)
        return [row[at] for row in self.rows]


def read_table(
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    header: Sequence[str] = (),
    leave_out_short: bool = False,
) -> Table:
    """The table in a file, by the ending of its name.

    Args:
        columns: names of the columns of a file without a header.
        header: names that the first line has if it is a header, whatever `columns` says.
        leave_out_short: leave rows with too few values out, and count them, instead of refusing the file.

    Raises:
        SpecError: it cannot be read; the message names the line.
    """
    if path.suffix in (".parquet", ".arrow"):
        return _parquet_or_arrow(path)
    is_quoted = False
    try:
        if path.suffix == ".csv":
            rows = _csv_rows(path)
        else:
            rows, is_quoted = _tsv_rows(path)
        first = next(rows, None)
        if first is not None and columns is not None and not (header and set(header) <= set(first[1])):
            rows = itertools.chain([first], rows)
        else:
            columns = first[1] if first is not None else ()
            if not any(columns):
                raise table_problem(path, "is empty", "its first line has the names of the columns")
        kept, lines, short = [], [], 0
        for line, row in rows:
            if len(row) == len(columns):
                kept.append(row)
                lines.append(line)
            elif leave_out_short and len(row) < len(columns):
                short += 1
            else:
                text = f"has {len(row)} values in line {line}, and {len(columns)} columns"
                raise table_problem(path, text, _QUOTING[path.suffix])
    except UnicodeDecodeError as err:
        raise table_problem(
            path, f"is not text in UTF-8: {err.reason} at byte {err.start}", "save it as UTF-8"
        ) from err
    except (csv.Error, OSError) as err:
        raise table_problem(path, f"cannot be read: {reason_of(err)}", _QUOTING[path.suffix]) from err
    if not kept:
        raise table_problem(path, "has no rows", "")
    return Table(path, tuple(columns), kept, lines, short, is_quoted)


_QUOTING = {
    ".csv": 'put texts with commas, quotes or line breaks into "quotes", and double the quotes inside',
    ".tsv": "a value of a TSV file has no tab and no line break, and quotes mean nothing there",
}


def table_problem(path: Path, message: str, hint: str) -> SpecError:
    """An error about a file, below the dataset."""
    return SpecError(Problem(f"{path} {message}", path="task.dataset", hint=hint))


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        before = 0
        for row in reader:
            if row:  # an empty line has no values at all
                yield before + 1, row
            before = reader.line_num


def _tsv_rows(path: Path) -> tuple[Iterator[tuple[int, list[str]]], bool]:
    """Rows with their lines, and whether values were in quotes."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        text = stream.read()
    if (rows := quoted_rows(text)) is not None:
        return iter(rows), True
    lines = enumerate(text.split("\n"), 1)
    return ((number, line.rstrip("\r").split("\t")) for number, line in lines if line.rstrip("\r")), False


def _parquet_or_arrow(path: Path) -> Table:
    kind = "a parquet" if path.suffix == ".parquet" else "an Arrow"
    try:
        import pyarrow.parquet  # an optional package, which no other file needs
    except ImportError as err:
        raise table_problem(path, f"is {kind} file, and pyarrow is not installed", "pip install pyarrow") from err
    try:
        if path.suffix == ".parquet":
            table = pyarrow.parquet.read_table(path)
        else:
            with pyarrow.memory_map(str(path)) as stream:
                table = pyarrow.ipc.open_stream(stream).read_all()
    except (OSError, pyarrow.ArrowException) as err:
        raise table_problem(path, f"cannot be read: {reason_of(err)}", "") from err
    columns = [table.column(name).to_pylist() for name in table.column_names]
    rows: list[Sequence[Any]] = list(zip(*columns, strict=True))
    if not rows:
        raise table_problem(path, "has no rows", "")
    return Table(path, tuple(table.column_names), rows, list(range(1, len(rows) + 1)))
