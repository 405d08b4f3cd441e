"""Style of all charts: dark on light, colours for colour-blind readers, units on every axis.

Colours are those of Okabe and Ito (2008), without the yellow, which has too little contrast on white; a meaning of a
colour is also shown by a shape or a position.
"""

from __future__ import annotations

from typing import Any

import altair as alt

from results.figures.figure import Chart
from results.layout.columns import DOWN, UP
from search_space.schema.metrics import METRICS, Metric

__all__ = [
    "BLACK",
    "BLUE",
    "FONT",
    "GREEN",
    "GREY",
    "INK",
    "LIGHT",
    "ORANGE",
    "PALETTE",
    "PANEL",
    "PINK",
    "SKY",
    "WIDTH",
    "change_title",
    "names_axis",
    "styled",
    "value_title",
]

BLACK, GREY, LIGHT = "#000000", "#767676", "#c9c9c9"
BLUE, ORANGE, GREEN, PINK, AMBER, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
PALETTE = (BLUE, ORANGE, GREEN, PINK, AMBER, SKY)
WIDTH = 520
"""Default width in pixels of a chart with one panel; an HTML page stretches it."""
PANEL = 250
"""Width in pixels of one panel of several."""
INK = "#222222"
# vl-convert measures with the first font; the next two have the same widths, so text is not cut on other machines.
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"


def styled(chart: Chart) -> Chart:
    """Chart with the common style."""
    return (
        chart.configure(font=FONT, background="white", padding=5)
        .configure_view(stroke="#dddddd")
        .configure_axis(
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            labelColor=INK,
            titleColor=INK,
            gridColor="#ececec",
            domainColor="#888888",
            tickColor="#888888",
            labelLimit=240,
        )
        .configure_legend(
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            labelColor=INK,
            titleColor=INK,
            labelLimit=230,
        )
        .configure_header(labelFontSize=12, titleFontSize=12, labelColor=INK, titleColor=INK, labelLimit=PANEL)
        .configure_title(fontSize=13, color=INK)
    )


def value_title(metric: Metric | str) -> str:
    """Axis title of a metric, `top1 (%) (up arrow)`; for an unknown one its name."""
    known = METRICS.get(metric.removeprefix("val_")) if isinstance(metric, str) else metric
    name = metric if isinstance(metric, str) else metric.name
    if known is None:
        return name
    arrow = {"maximize": f" {UP}", "minimize": f" {DOWN}", None: ""}[known.direction]
    return f"{name} ({known.unit}){arrow}" if known.unit else f"{name}{arrow}"


def change_title(metric: Metric, what: str = "\u0394") -> str:
    """Axis title of differences: `Delta top1 (percentage points), better to the right`."""
    unit = "percentage points" if metric.unit == "%" else metric.unit
    side = "better \u2192" if metric.direction == "maximize" else "\u2190 better"
    return f"{what} {metric.name} ({unit}), {side}"


def names_axis(**options: Any) -> alt.Axis:
    """Vertical axis of names, without title; a line feed in a name starts a second line."""
    lines = r"split(datum.label, '\n')"
    return alt.Axis(title=None, ticks=False, domain=False, grid=False, labelExpr=lines, labelLineHeight=12, **options)
