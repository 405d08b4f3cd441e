"""Durations as people write them: `90` (seconds), `90s`, `30m`, `1.5h`, `2d`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

__all__ = ["Duration"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _to_seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([smhd])\s*", value)
    if found is None:
        raise ValueError("a duration is a number of seconds, or a number with a unit: `90s`, `30m`, `2h`, `1d`")
    return float(found[1]) * _SECONDS[found[2]]


Duration = Annotated[float, BeforeValidator(_to_seconds, json_schema_input_type=float | str), Field(gt=0)]
"""Seconds; written as a number or with a unit."""
