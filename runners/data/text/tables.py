"""Tables of text on disk: CSV, TSV and parquet files with named columns, read whole, with the line of every row.

CSV files have quotes as spreadsheets write them (RFC 4180); in TSV files a quote is a character like any other, as in
the files of GLUE. Text is UTF-8.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[Sequence[Any]]
    lines: list[int]
    short: int = 0

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


def read_table(path: Path, *, columns: Sequence[str] | None = None, leave_out_short: bool = False) -> Table:
    """The table in a file, by the ending of its name.

    Args:
        columns: names of the columns of a file without a header.
        leave_out_short: leave rows with too few values out, and count them, instead of refusing the file.

    Raises:
        SpecError: it cannot be read; the message names the line.
    """
    if path.suffix == ".parquet":
        return _parquet(path)
    try:
        rows = _csv_rows(path) if path.suffix == ".csv" else _tsv_rows(path)
        if columns is None:
            _, columns = next(rows, (0, []))
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
    return Table(path, tuple(columns), kept, lines, short)


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


def _tsv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open(encoding="utf-8-sig", newline="\n") as stream:
        for number, line in enumerate(stream, 1):
            text = line.rstrip("\r\n")
            if text:
                yield number, text.split("\t")


def _parquet(path: Path) -> Table:
    try:
        import pyarrow.parquet  # an optional package, which no other file needs
    except ImportError as err:
        raise table_problem(path, "is a parquet file, and pyarrow is not installed", "pip install pyarrow") from err
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as err:
        raise table_problem(path, f"cannot be read: {reason_of(err)}", "") from err
    columns = [table.column(name).to_pylist() for name in table.column_names]
    rows: list[Sequence[Any]] = list(zip(*columns, strict=True))
    if not rows:
        raise table_problem(path, "has no rows", "")
    return Table(path, tuple(table.column_names), rows, list(range(1, len(rows) + 1)))
