"""Legal values near an illegal one, for the hints of error messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable

__all__ = ["divisors", "listed", "nearest"]


def divisors(number: int) -> list[int]:
    """All divisors in ascending order: `divisors(12) == [1, 2, 3, 4, 6, 12]`."""
    return [candidate for candidate in range(1, number + 1) if number % candidate == 0]


def nearest(value: int, is_legal: Callable[[int], bool], *, reach: int = 1000) -> list[int]:
    """The closest legal value on either side: `nearest(190, lambda n: n % 4 == 0) == [188, 192]`."""
    below = next((n for n in range(value, max(0, value - reach), -1) if is_legal(n)), None)
    above = next((n for n in range(value + 1, value + reach) if is_legal(n)), None)
    return [n for n in (below, above) if n is not None]


def listed(values: Iterable[object], *, most: int = 12) -> str:
    """Comma-separated list of at most `most` values: `1, 2, 3, ...`."""
    shown = [str(value) for value in values]
    return ", ".join(shown[:most] + ["..."] * (len(shown) > most))
