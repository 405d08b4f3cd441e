"""Cells of an ablation table: how a row's numbers and marks are written, with the decimals of their column.

A cell has parts, so that a terminal can align them and omit the least important ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from results.layout.caption import PLUS_MINUS, significance_stars
from results.layout.footnotes import DOUBLE_DAGGER, seeds_marks
from results.stats.numbers import fixed, shared_decimals, signed
from results.stats.paired import PairedDelta, Summary
from results.stats.verdicts import TESTED
from results.table.table import Row

__all__ = [
    "CHECK",
    "CROSS",
    "Cell",
    "Emphasis",
    "component",
    "difference",
    "front",
    "interval",
    "mean_and_std",
    "number",
    "p_value",
    "published",
    "seeds",
    "verdict",
    "with_paper",
]

CHECK, CROSS = "\u2713", "\u2717"
_MARKS = {"equivalent": " =", "unequal budget": f" {DOUBLE_DAGGER}"}
_MOST_DECIMALS = 12
_P_DECIMALS = 4
Emphasis = Literal["", "bold", "underline"]


@dataclass(frozen=True)
class Cell:
    """Cell with the parts `97.31`, ` +- 0.42`, ` (+3 %)` and ` (paper 97.5)`; most have only the first.

    Attributes:
        paper: what a paper published beside the number; behind a published number, ours minus it.
        sort_by: unrounded value.
    """

    value: str = ""
    spread: str = ""
    change: str = ""
    paper: str = ""
    emphasis: Emphasis = ""
    sort_by: float | None = None

    def __str__(self) -> str:
        return self.value + self.spread + self.change + self.paper


def component(row: Row, name: str) -> Cell:
    """Check mark or cross; empty where the row's run has no such component."""
    if name not in row.components:
        return Cell()
    return Cell(CHECK if row.components[name] else CROSS, sort_by=float(row.components[name]))


def mean_and_std(summary: Summary | None, decimals: int, *, mark: Emphasis = "", any_std_shows: bool = False) -> Cell:
    """Cell of a mean and its standard deviation.

    Args:
        any_std_shows: print a standard deviation that the decimals would round to zero with one digit: `97 +- 0.4`.
    """
    if summary is None:
        return Cell()
    spread = ""
    if summary.std is not None:
        is_hidden = any_std_shows and 0 < summary.std < 0.5 * 10.0**-decimals
        shown = min(_MOST_DECIMALS, -math.floor(math.log10(summary.std))) if is_hidden else decimals
        spread = f" {PLUS_MINUS} {summary.std:.{shown}f}"
    return Cell(fixed(summary.mean, decimals), spread, emphasis=mark, sort_by=summary.mean)


def difference(row: Row, decimals: int, alpha: float, *, with_interval: bool) -> Cell:
    """Cell of the difference to the baseline, with stars, number of pairs and the mark of its verdict."""
    delta = row.delta
    if delta is None:
        return Cell()
    spread = ""
    stars = significance_stars(row.p_corrected, alpha)
    if stars:
        decimals = _enough_decimals(delta, decimals)
    if delta.low is not None and delta.high is not None:
        # The stars come last, so that digits stay aligned.
        spread = f" [{signed(delta.low, decimals)}, {signed(delta.high, decimals)}]" if with_interval else ""
        spread += stars
    elif stars:
        spread = stars  # of a test of ranks, which has no interval
    if delta.num_pairs < row.num_planned_pairs:
        unit = "block" if row.num_blocks else "pair"
        spread += f" ({delta.num_pairs} {unit}{'s'[: delta.num_pairs - 1]})"
    spread += _MARKS.get(row.verdict or "", "")
    return Cell(signed(delta.mean, decimals), spread, sort_by=delta.mean)


def interval(row: Row, decimals: int, alpha: float) -> Cell:
    """Cell of the interval alone, with the digits that it has beside the difference."""
    delta = row.delta
    if delta is None or delta.low is None or delta.high is None:
        return Cell()
    if significance_stars(row.p_corrected, alpha):
        decimals = _enough_decimals(delta, decimals)
    return Cell(f"[{signed(delta.low, decimals)}, {signed(delta.high, decimals)}]", sort_by=delta.low)


def _enough_decimals(delta: PairedDelta, decimals: int) -> int:
    """Decimals with which no number of a claim is printed as zero: `+0.0000 [0.0000, 0.0000]*` claims nothing."""
    sizes = [abs(value) for value in (delta.mean, delta.low, delta.high) if value]
    if not sizes or min(sizes) >= 0.5 * 10.0**-decimals:
        return decimals
    return min(_MOST_DECIMALS, shared_decimals(sizes, least=decimals, most=_MOST_DECIMALS))


def verdict(row: Row, correction: str) -> Cell:
    """A claim under the false discovery rate is a weaker one: some of several are expected to be false."""
    is_claim = row.verdict in ("better", "worse", "equivalent")
    notes = ["FDR"] * (is_claim and correction == "bh") + ["exploratory"] * (
        row.is_exploratory and row.verdict in TESTED
    )
    return Cell(f"{row.verdict} ({', '.join(notes)})" if notes else row.verdict or "")


def number(value: float | None, decimals: int) -> Cell:
    """Cell of one number, empty without it."""
    return Cell() if value is None else Cell(fixed(value, decimals), sort_by=value)


def p_value(value: float | None) -> Cell:
    """Cell of a p-value; a smaller one than the decimals show is given by its bound."""
    if value is None:
        return Cell()
    least = 10.0**-_P_DECIMALS
    return Cell(f"< {least:.{_P_DECIMALS}f}" if value < least else f"{value:.{_P_DECIMALS}f}", sort_by=value)


def published(row: Row, metric: str, decimals: int, numbers: Mapping[str, int]) -> Cell:
    """Cell of the published values, each with the number of its source, and ours minus each."""
    texts = [
        " ".join(
            [
                *([fixed(there.values[metric], decimals)] if metric in there.values else []),
                f"[{numbers[there.source]}]",
            ]
        )
        for there in row.published
    ]
    first = next((there.values[metric] for there in row.published if metric in there.values), None)
    gaps = [signed(gap, decimals) for there in row.published if (gap := row.minus_published(there, metric)) is not None]
    return Cell(", ".join(texts), paper=f" ({', '.join(gaps)})" if gaps else "", sort_by=first)


def with_paper(cell: Cell, row: Row, name: str) -> Cell:
    """The cell of a further metric or a cost with its published values, as they were published."""
    values = [f"{there.values[name]:.12g}" for there in row.published if name in there.values]
    return replace(cell, paper=f" (paper {', '.join(values)})") if values else cell


def front(row: Row) -> Cell:
    """Cell of the Pareto front."""
    return Cell() if row.front is None else Cell(str(row.front), sort_by=float(row.front))


def seeds(row: Row) -> Cell:
    """Cell of the seeds: `2/3` completed, and marks for pruned (with epochs) and failed ones; the rest is missing."""
    return Cell(f"{row.num_completed}/{row.num_planned}", seeds_marks(row), sort_by=float(row.num_completed))
