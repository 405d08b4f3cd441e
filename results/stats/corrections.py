"""Corrections of p-values for many arms: ten arms that equal the baseline would star one in a third of all tables.

Holm (default) bounds the chance of any false claim in the table; Benjamini-Hochberg bounds the expected share of false
claims among the claims. Written out because statsmodels takes a second to import; the tests compare with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["CORRECTIONS", "benjamini_hochberg", "holm", "uncorrected"]


def holm(p_values: Sequence[float], num_tests: int) -> list[float]:
    """Holm's adjusted p-values.

    Args:
        num_tests: size of the family; tests not (yet) carried out count as well.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(_ascending(p_values)):
        largest = max(largest, min(1.0, p_values[index] * (num_tests - rank)))
        adjusted[index] = largest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float], num_tests: int) -> list[float]:
    """Benjamini and Hochberg's adjusted p-values; those of tests not carried out count as 1."""
    adjusted = [0.0] * len(p_values)
    smallest = 1.0
    for rank, index in reversed(list(enumerate(_ascending(p_values), start=1))):
        smallest = min(smallest, p_values[index] * num_tests / rank)
        adjusted[index] = smallest
    return adjusted


def uncorrected(p_values: Sequence[float], num_tests: int) -> list[float]:
    """The p-values as they are."""
    return list(p_values)


def _ascending(p_values: Sequence[float]) -> list[int]:
    return sorted(range(len(p_values)), key=p_values.__getitem__)


CORRECTIONS: dict[str, Callable[[Sequence[float], int], list[float]]] = {
    "holm": holm,
    "bh": benjamini_hochberg,
    "none": uncorrected,
}
