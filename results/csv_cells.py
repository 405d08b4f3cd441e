"""CSV at full precision: how a value stands in a cell, and a cell in a line.

The standard library's writer leaves a carriage return unquoted when lines end with a line feed, and its own reader then
sees a line end inside a name; so a line is put together here, by the rule of RFC 4180.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

__all__ = ["csv_line", "csv_value"]

_SPECIAL = re.compile('[,"\r\n]')


def csv_line(values: Iterable[Any]) -> str:
    """One line, its line feed included."""
    return ",".join(_quoted(csv_value(value)) for value in values) + "\n"


def csv_value(value: Any) -> str:
    """Strings as they are, nothing as the empty cell, everything else as JSON (floats with all their digits)."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _quoted(cell: str) -> str:
    if not _SPECIAL.search(cell):
        return cell
    doubled = cell.replace('"', '""')
    return f'"{doubled}"'
