"""Input and output of a figure: the evidence of a run; a tidy frame, the chart drawn from it, and its texts.

The frame holds the data of the chart at full precision, to be drawn with other tools. Its names come from `labels`, so
that a name from a sweep is one line of visible characters and names are unique.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import altair as alt
import pandas as pd

from results.store.run import Run
from results.table.table import AblationTable, Row
from search_space.parsing.visible import visible

__all__ = ["MOST_ROWS", "Chart", "Evidence", "Figure", "Picture", "in_two_lines", "labels", "listed", "only"]


@dataclass(frozen=True)
class Picture:
    """Drawn images, as the text of an SVG: where pixels are shown, there is nothing for a chart to be live about."""

    svg: str


Chart = alt.Chart | alt.LayerChart | alt.FacetChart
_LONG = 24
MOST_ROWS = 60
"""Maximum number of rows of a chart that lists variants; the CSV beside it holds all."""


@dataclass(frozen=True)
class Evidence:
    """Data of one run for its figures.

    Attributes:
        others: tables of the other runs in the same report.
        importances: method -> parameter -> share, for a search; computed by the caller, because it needs Optuna.
    """

    run: Run
    table: AblationTable
    others: tuple[AblationTable, ...] = ()
    importances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """One figure. `caption` explains how to read it, `notes` are remarks on these data; `plugin` has drawn it."""

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    chart: Chart | Picture
    notes: tuple[str, ...] = ()
    plugin: str = ""


def labels(rows: tuple[Row, ...]) -> dict[tuple[str, str], str]:
    """Labels of the rows in charts, (study, variant id) -> name: visible characters, and unique."""
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
    """Long name with a line feed for the space nearest to its middle; labels contain no other line feed."""
    if len(name) <= _LONG:
        return name
    middle = len(name) / 2
    spaces = [index for index, letter in enumerate(name) if letter == " "]
    if not spaces:
        return name
    place = min(spaces, key=lambda index: abs(index - middle))
    return f"{name[:place]}\n{name[place + 1 :]}"


def listed(frame: pd.DataFrame, by: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Rows of the variants with the largest values of `by`, in their order, and a note if some are left out."""
    sizes: dict[str, float] = {}
    for variant, value in zip(frame["variant"], frame[by], strict=True):
        sizes[variant] = max(sizes.get(variant, 0.0), abs(value))
    if len(sizes) <= MOST_ROWS:
        return frame, ()
    kept = sorted(sizes, key=lambda variant: -sizes[variant])[:MOST_ROWS]
    note = f"The {MOST_ROWS} largest of {len(sizes)} are drawn; the CSV holds all."
    return only(frame, kept), (note,)


def only(frame: pd.DataFrame, variants: Iterable[str]) -> pd.DataFrame:
    """Rows of the given variants."""
    return frame.loc[frame["variant"].isin(list(variants))]
