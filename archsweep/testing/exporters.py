"""Contract of a table format: `write(table, stream)`."""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Callable
from typing import TextIO

from archsweep.testing.example_run import example_table
from archsweep.testing.member import expect
from results.table.table import AblationTable

__all__ = ["check_exporter"]


def check_exporter(write: Callable[[AblationTable, TextIO], None], *, for_programs: bool = False) -> None:
    """Check a table format: it writes every row with its numbers, the same text each time, and no control characters.

    Args:
        for_programs: whether it keeps names as they are, as a CSV does.

    Raises:
        AssertionError: a condition does not hold; the message says which.
    """
    name = getattr(write, "__name__", repr(write))
    table = example_table()
    before = copy.deepcopy(table)
    text = _written(write, table)
    expect(bool(text.strip()), name, "nothing is written to the stream")
    expect(table == before, name, "the table is changed by writing it")
    expect(_written(write, table) == text, name, "the same table gives another text each time")
    for row in table.rows:
        mean = row.metrics["top1"].mean
        assert mean is not None
        shown = [float(number) for number in re.findall(r"\d+\.\d+", text)]
        found = any(abs(mean - number) <= 0.005 for number in shown)
        expect(found, name, f"the mean of a row is missing: {mean:.2f} (top1 of {row.name!r}, two decimals)")
    if for_programs:
        return
    stray = sorted({repr(letter) for letter in re.findall(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", text)} - {"'\\r'"})
    hint = "search_space.parsing.visible.visible(name) makes them visible"
    expect(not stray, name, f"control characters of a name are written as they are: {', '.join(stray)}; {hint}")


def _written(write: Callable[[AblationTable, TextIO], None], table: AblationTable) -> str:
    stream = io.StringIO(newline="")
    write(table, stream)
    if stream.closed:
        raise AssertionError(f"{getattr(write, '__name__', write)!s}: the stream is closed; the caller closes it")
    return stream.getvalue()
