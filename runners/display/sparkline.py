"""A curve as a line of letters of growing height."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["BLOCKS", "PLAIN", "sparkline"]

BLOCKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
PLAIN = "_.-=+*#@"
"""For a terminal without Unicode."""
_WIDTH = 24


def sparkline(values: Sequence[float], *, width: int = _WIDTH, letters: str = BLOCKS) -> str:
    """The values as letters of growing height, at most `width` of them, the last value always among them.

    Equal values stand in the middle; a value that is no number is a blank.
    """
    count = min(width, len(values))
    shown = [values[round(index * (len(values) - 1) / max(1, count - 1))] for index in range(count)]
    shown = shown if count != 1 else [values[-1]]
    finite = [value for value in shown if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)

    def letter(value: float) -> str:
        if not math.isfinite(value):
            return " "
        height = 0.5 if high == low else (value - low) / (high - low)
        return letters[min(len(letters) - 1, int(height * len(letters)))]

    return "".join(map(letter, shown))
