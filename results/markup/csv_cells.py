"""CSV at full precision: values as cells, and cells as a line.

A text that a spreadsheet would execute as a formula with a call or a request gets an apostrophe in front
(docs/decisions/0009-spreadsheets-execute-cells.md); numbers never do.

The standard library's writer leaves a carriage return unquoted when lines end with a line feed, and its own reader then
sees a line end inside a name; so a line is composed here, by the rule of RFC 4180.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

__all__ = ["csv_line", "csv_value"]

_SPECIAL = re.compile('[,"\r\n]')
_BEGINS = tuple("=@\t\r+-\uff1d\uff20\uff0b\uff0d")
_CALLS = frozenset("(|![{'\"\\\t\r\n")
_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def csv_line(values: Iterable[Any]) -> str:
    """One line, its line feed included."""
    return ",".join([_cell(value) for value in values]) + "\n"


def csv_value(value: Any) -> str:
    """The value as text: strings as they are, None as "", numbers with all their digits, everything else as JSON."""
    kind = type(value)
    if kind is str:
        return value
    if value is None:
        return ""
    if kind is float or kind is int:  # not a bool: true and false are JSON
        return repr(value)
    return _JSON.encode(value)


def _is_formula(text: str) -> bool:
    """Whether the text needs the apostrophe. Others in front do not count, so that an added one is recognisable."""
    inner = text.lstrip("'")
    if not inner.startswith(_BEGINS):
        return False
    # `+ mixup` and `- refiner` are names of our designs; without these characters no formula calls, links or quotes.
    return inner != text or inner[0] not in "+-" or not _CALLS.isdisjoint(inner)


def _cell(value: Any) -> str:
    text = csv_value(value)
    if type(value) is str and _is_formula(text):
        text = f"'{text}"
    # Most cells of a large file are numbers, which need no search.
    if type(value) is float or not _SPECIAL.search(text):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
