"""CSV: a row per run, with columns for its configuration, its seed and its metrics."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from runners.imports.source_run import SourceRun, SourceRuns, value_of_text
from search_space.parsing.errors import Problem, SpecError

__all__ = ["read_csv"]

_DELIMITERS = ",;\t"


def read_csv(path: Path, keys: Collection[str] = ()) -> SourceRuns:
    """The rows of the file; every cell is in `config`, whatever is asked for.

    Raises:
        SpecError: it is no table with a header, with every bad row by its line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as err:
        raise SpecError(Problem(f"cannot read: {err.strerror}", where=str(path))) from err
    except UnicodeDecodeError as err:
        raise SpecError(Problem("is no text in UTF-8", where=str(path), hint="export it as UTF-8")) from err
    head = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=head.count)  # the comma where none is there
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    runs: list[SourceRun] = []
    problems: list[Problem] = []
    line = 1
    try:
        for cells in reader:
            here, line = f"{path}:{line}", reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = [cell.strip() for cell in cells]
                problems += _header_problems(header, here)
            elif len(cells) != len(header):
                problems.append(Problem(f"has {len(cells)} cells, and the header has {len(header)}", where=here))
            else:
                place = f"{path.name}:{here.rpartition(':')[2]}"
                values = zip(header, map(value_of_text, cells), strict=True)
                config = {name: value for name, value in values if name}
                runs.append(SourceRun(place, here, config, is_row=True))
    except csv.Error as err:
        problems.append(Problem(f"is no CSV: {err}", where=f"{path}:{reader.line_num}"))
    if not problems and not runs:
        came = "only a header" if header else "nothing"
        problems.append(Problem(f"has {came}, no run", where=str(path), hint="a header, then a row for every run"))
    if problems:
        raise SpecError(problems)
    return SourceRuns(tuple(runs), (path,))


def _header_problems(header: list[str], where: str) -> list[Problem]:
    # A column without a name is the index that pandas writes.
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    return [Problem(f"the column {name!r} is there twice", where=where) for name in twice]
