"""What a figure is made from and what it is: a tidy frame, the chart drawn from it, and the words beside it.

The frame holds what the chart shows, at full precision, for those who draw it anew. Names in it have passed `labels`,
so that a name from a sweep is one line of visible characters and two variants are never one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import altair as alt
import pandas as pd

from results.store.run import Run
from results.table.table import AblationTable, Row
from search_space.parsing.visible import visible

__all__ = ["MOST_ROWS", "Chart", "Evidence", "Figure", "in_two_lines", "labels", "listed", "only"]

Chart = alt.Chart | alt.LayerChart | alt.FacetChart
_LONG = 24
MOST_ROWS = 60
"""Rows of a chart that lists variants: more are no picture; the CSV beside it holds all."""


@dataclass(frozen=True)
class Evidence:
    """What is known of one run.

    Attributes:
        others: tables of the runs that are reported together with it.
        importances: method -> parameter -> share, for a search; whoever may import Optuna measures them.
    """

    run: Run
    table: AblationTable
    others: tuple[AblationTable, ...] = ()
    importances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """One figure. `caption` says how to read it, `notes` what is special about these data."""

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    chart: Chart
    notes: tuple[str, ...] = ()


def labels(rows: tuple[Row, ...]) -> dict[tuple[str, str], str]:
    """(study, variant id) -> the name by which charts call the row: visible characters, and no name twice."""
    found: dict[tuple[str, str], str] = {}
    taken: set[str] = set()
    for row in rows:
        name = visible(row.name)
        count = 1
        while name in taken:
            count += 1
            name = f"{visible(row.name)} ({count})"
        taken.add(name)
        found[row.study, row.variant_id] = name
    return found


def in_two_lines(name: str) -> str:
    """A long name broken at the word nearest to its middle, by a line feed, which no label holds otherwise."""
    if len(name) <= _LONG:
        return name
    middle = len(name) / 2
    spaces = [index for index, letter in enumerate(name) if letter == " "]
    if not spaces:
        return name
    place = min(spaces, key=lambda index: abs(index - middle))
    return f"{name[:place]}\n{name[place + 1 :]}"


def listed(frame: pd.DataFrame, by: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows of the variants with the largest values of `by`, as they stood, and a note if some are left out."""
    sizes: dict[str, float] = {}
    for variant, value in zip(frame["variant"], frame[by], strict=True):
        sizes[variant] = max(sizes.get(variant, 0.0), abs(value))
    if len(sizes) <= MOST_ROWS:
        return frame, ()
    kept = sorted(sizes, key=lambda variant: -sizes[variant])[:MOST_ROWS]
    note = f"The {MOST_ROWS} largest of {len(sizes)} are drawn; the CSV holds all."
    return only(frame, kept), (note,)


def only(frame: pd.DataFrame, variants: Iterable[str]) -> pd.DataFrame:
    """The rows of these variants."""
    return frame.loc[frame["variant"].isin(list(variants))]
