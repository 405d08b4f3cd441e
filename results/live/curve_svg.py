"""Curves by epoch as inline SVG, drawn on the server: they need no script, and a trial's next epoch is a few numbers.

Colours and lines are classes of the page's stylesheet, so that they follow the reader's light or dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from markupsafe import Markup

from results.markup.html_templates import render

__all__ = ["Points", "chart", "points_of", "spark"]

Points = Sequence[tuple[float, float]]
"""Epoch and value, in the order of the epochs."""

_Place = Callable[[float, float], tuple[float, float]]
_MOST_POINTS = 240
_MOST_LINES = 4


def points_of(curve: Iterable[Mapping[str, float]], name: str) -> Points:
    """The points of one quantity of a curve; epochs that lack it are left out."""
    found = [(point["epoch"], point[name]) for point in curve if name in point and "epoch" in point]
    if len(found) <= _MOST_POINTS:
        return found
    last = len(found) - 1
    return [found[round(index * last / (_MOST_POINTS - 1))] for index in range(_MOST_POINTS)]


def spark(points: Points, name: str, *, epochs: int | None) -> Markup:
    """A small curve without axes for a cell of a table; empty for less than one finite value."""
    return _drawn([(name, points)], epochs, "live/assets/spark.svg.j2", width=120, height=30, inset=(2, 2, 2, 2))


def chart(lines: Sequence[tuple[str, Points]], *, epochs: int | None) -> Markup:
    """A chart of some quantities over the epochs, with its lowest and highest value at the axis."""
    return _drawn(
        lines[:_MOST_LINES], epochs, "live/assets/chart.svg.j2", width=440, height=200, inset=(58, 10, 12, 24)
    )


def _drawn(
    lines: Sequence[tuple[str, Points]],
    epochs: int | None,
    template: str,
    *,
    width: int,
    height: int,
    inset: tuple[int, int, int, int],
) -> Markup:
    finite = [(x, y) for _, points in lines for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if not finite:
        return Markup()
    left, top, right, bottom = inset
    first, last = min(x for x, _ in finite), max(max(x for x, _ in finite), float(epochs or 0))
    low, high = min(y for _, y in finite), max(y for _, y in finite)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - first) / (last - first) if last > first else 0.5
        # Halves first: the difference of two finite numbers may be infinite.
        up = (y / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.5
        return left + across * (width - left - right), height - bottom - up * (height - top - bottom)

    drawn = [{"name": name, "path": _path(points, place), "end": _end(points, place)} for name, points in lines]
    names = ", ".join(f"{name} {points[-1][1]:.4g}" for name, points in lines if points)
    return render(
        template,
        width=width,
        height=height,
        inset=inset,
        lines=drawn,
        words=f"{names} at epoch {max(x for x, _ in finite):g}; from {low:.4g} to {high:.4g}",
        low=f"{low:.4g}",
        high=f"{high:.4g}",
        first=f"{first:g}",
        last=f"{last:g}",
    )


def _path(points: Points, place: _Place) -> str:
    """The `d` of a path; values that are not finite interrupt the line."""
    words, is_drawing = [], False
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)):
            is_drawing = False
            continue
        across, up = place(x, y)
        words.append(f"{'L' if is_drawing else 'M'}{across:.1f} {up:.1f}")
        is_drawing = True
    return "".join(words)


def _end(points: Points, place: _Place) -> tuple[str, str] | None:
    """Where the last finite point is, which is marked: a single point draws no line."""
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if not finite:
        return None
    across, up = place(*finite[-1])
    return f"{across:.1f}", f"{up:.1f}"
