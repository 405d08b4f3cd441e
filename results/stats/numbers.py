"""Number formatting: equal decimals within a column, no minus sign before zero."""

from __future__ import annotations

import math
from collections.abc import Iterable

from results.stats.paired import PairedDelta

__all__ = ["delta_texts", "fixed", "level_percent", "shared_decimals", "signed", "signed_percent"]

_SIGNIFICANT = 3


def shared_decimals(values: Iterable[float], *, least: int, most: int) -> int:
    """Number of decimals for a whole column: three significant digits for its smallest value, within bounds."""
    sizes = [abs(value) for value in values if value and math.isfinite(value)]
    if not sizes:
        return least
    return max(least, min(most, _SIGNIFICANT - 1 - math.floor(math.log10(min(sizes)))))


def fixed(value: float, decimals: int) -> str:
    """Fixed-point text: `97.30`."""
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def signed(value: float, decimals: int) -> str:
    """Fixed-point text with sign: `+0.42`, `-1.30`, `0.00`."""
    text = f"{value:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text


def delta_texts(delta: PairedDelta, decimals: int) -> tuple[str, str]:
    """A difference and its interval, empty where there is none: `+0.42`, `[+0.10, +0.74]`."""
    if delta.low is None or delta.high is None:
        return signed(delta.mean, decimals), ""
    return signed(delta.mean, decimals), f"[{signed(delta.low, decimals)}, {signed(delta.high, decimals)}]"


def level_percent(alpha: float) -> str:
    """Level of an interval in percent: `95` for alpha 0.05, `99.9` for 0.001."""
    return f"{100 - 100 * alpha:.14g}"


def signed_percent(share: float) -> str:
    """Percentage with sign: `+2.8%` for 0.028; whole percents from 10 % on."""
    text = signed(100 * share, 1)
    return f"{text if abs(float(text)) < 10 else signed(100 * share, 0)}%"
