"""How a value stands in a CSV cell: at full precision, and so that it can be read back."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["csv_value"]


def csv_value(value: Any) -> str:
    """Strings as they are, nothing as the empty cell, everything else as JSON (floats with all their digits)."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
