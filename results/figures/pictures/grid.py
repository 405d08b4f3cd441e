"""A picture of rows and columns of images, with the name of every row at its left and a legend of the classes below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from results.figures.figure import in_two_lines
from results.figures.pictures.cells import CAPTION, Place, draw_blank, draw_sample, occurring_labels
from results.figures.pictures.class_colours import ClassColours, colours_of
from results.figures.pictures.svg import Element, label, new_svg, shape, svg_text, text_width
from results.figures.style import GREY, INK, LIGHT
from results.predictions.samples import Drawable, Kind, LabelMap, Sample

__all__ = ["Cell", "GridRow", "draw_grid"]

_HEIGHT = 118
_NARROWEST, _WIDEST = 0.5, 2.0
_GAP, _MARGIN, _HEAD = 4, 6, 16
_NAMES = 140
_ROOM = 1.12
"""Widths of texts are multiplied by it, for readers with wider fonts than the one measured with."""
_MOST_IN_LEGEND = 48


@dataclass(frozen=True)
class Cell:
    """An image and what is drawn over it; None: nothing."""

    sample: Sample
    drawn: Drawable | None


@dataclass(frozen=True)
class GridRow:
    """A row: its name, a line in grey under it, and a cell for every column, or why there is none."""

    name: str
    remark: str
    cells: Sequence[Cell | str]


def draw_grid(
    rows: Sequence[GridRow], columns: Sequence[Sample], *, kind: Kind, names: Mapping[int, str], ignored: int
) -> str:
    """SVG of the grid.

    Args:
        columns: gives every column its width and the position that is written above it.
    """
    shown = [cell for row in rows for cell in row.cells if isinstance(cell, Cell)]
    labels = {one for cell in shown if cell.drawn for one in occurring_labels(cell.drawn, ignored)}
    colours = colours_of(labels, names)
    widths = [_width(sample) for sample in columns]
    total = _MARGIN + _NAMES + sum(widths) + _GAP * len(widths) + _MARGIN
    pitch = _HEIGHT + _GAP + (CAPTION if kind == "one_class" else 0)
    below = _MARGIN + _HEAD + pitch * len(rows)
    legend = [] if kind == "one_class" else _legend(colours, ignored, shown, total)
    root = new_svg(total, below + 20 * len(legend) + _MARGIN)
    for index, row in enumerate(rows):
        y = _MARGIN + _HEAD + index * pitch
        _draw_name(root, row, y)
        x = _MARGIN + _NAMES
        for sample, width, cell in zip(columns, widths, row.cells, strict=True):
            if index == 0:
                label(root, f"image {sample.position}", x + width / 2, y - 5, size=10, fill=GREY, anchor="middle")
            place = Place(x, y, width, _HEIGHT)
            if isinstance(cell, Cell):
                draw_sample(root, place, cell.sample, cell.drawn, colours, ignored=ignored)
            else:
                draw_blank(root, place, cell)
            x += width + _GAP
    for index, line in enumerate(legend):
        _draw_legend(root, line, below + 20 * index)
    return svg_text(root)


def _width(sample: Sample) -> int:
    height, width = sample.image.shape[:2]
    return round(_HEIGHT * min(max(width / height, _NARROWEST), _WIDEST))


def _draw_name(root: Element, row: GridRow, y: float) -> None:
    lines = [_cut(line) for line in in_two_lines(row.name).split("\n")]
    y += _HEIGHT / 2 - 7 * (len(lines) + bool(row.remark)) + 10
    for line in lines:
        label(root, line, _MARGIN, y)
        y += 14
    if row.remark:
        label(root, row.remark, _MARGIN, y, size=10, fill=GREY)


def _cut(line: str) -> str:
    """The line as far as there is room for it."""
    most = (_NAMES - _GAP) / _ROOM
    if text_width(line) <= most:
        return line
    while line and text_width(f"{line}...") > most:
        line = line[:-1]
    return f"{line}..."


def _legend(
    colours: ClassColours, ignored: int, shown: Sequence[Cell], total: float
) -> list[list[tuple[float, str, str]]]:
    """Lines of the legend, each of (x, colour, words)."""
    entries = [(colours.colours[one], colours.name(one)) for one in sorted(colours.colours)]
    if len(entries) > _MOST_IN_LEGEND:
        more = len(entries) - _MOST_IN_LEGEND
        entries = [*entries[:_MOST_IN_LEGEND], ("", f"and {more} more")]
    entries += [("", f"no colour: {colours.name(one)}") for one in sorted(colours.bare)]
    maps = [cell.drawn.labels for cell in shown if isinstance(cell.drawn, LabelMap)]
    if any((each == ignored).any() for each in maps):
        entries.append(("#ffffff", "not counted"))
    lines: list[list[tuple[float, str, str]]] = [[]]
    x = float(_MARGIN + _NAMES)
    for colour, words in entries:
        width = 17 * bool(colour) + _ROOM * text_width(words) + 12
        if lines[-1] and x + width > total:
            lines.append([])
            x = _MARGIN + _NAMES
        lines[-1].append((x, colour, words))
        x += width
    return [line for line in lines if line]


def _draw_legend(root: Element, line: Sequence[tuple[float, str, str]], y: float) -> None:
    for x, colour, words in line:
        if colour:
            stroke = {"stroke": LIGHT} if colour == "#ffffff" else {}
            shape(root, "rect", x=x, y=y + 4, width=12, height=12, fill=colour, **stroke)
        label(root, words, x + 17 * bool(colour), y + 14, fill=INK if colour else GREY)
