"""Accuracy against cost, with the Pareto front: rows without a better row at the same or a lower cost."""

from __future__ import annotations

import altair as alt
import pandas as pd

from results.figures.figure import Evidence, Figure, labels
from results.figures.style import BLACK, BLUE, GREY, LIGHT, PANEL, styled, value_title
from results.stats.pareto import pareto_ranks
from results.table.table import AblationTable, Row
from search_space.schema.metrics import direction_of

__all__ = ["draw"]

_COSTS = {"gmacs": "GMACs per image", "params_m": "parameters (millions)"}
_FRONT, _OTHER, _PARTIAL, _BASELINE = "on the front", "not on it", "incomplete", "baseline"
_LOOKS = {
    _FRONT: (BLUE, "circle"),
    _OTHER: (LIGHT, "circle"),
    _PARTIAL: (GREY, "cross"),
    _BASELINE: (BLACK, "diamond"),
}
_HEIGHT, _LETTER, _LINE, _NAME = 240, 6.0, 14.0, 150.0
"""Sizes in pixels: height of a panel, width of a letter, height of a line, width of the longest name."""


def draw(evidence: Evidence) -> Figure | None:
    """Draw the figure; None where all rows have the same cost."""
    table = evidence.table
    rows = [row for row in table.rows if table.metric.name in row.metrics and row.verdict != "unequal budget"]
    frame = pd.DataFrame([line for cost in _COSTS for line in _lines(table, rows, cost)])
    if frame.empty:
        return None
    over = "seeds" if table.blocks is None else "the blocks of the design"
    return Figure(
        name="cost",
        title="Accuracy against cost",
        caption=f"Mean and standard deviation over {over} against cost. The line is the Pareto front of the means: no "
        "other complete row is at least as good at the same or a lower cost. The order of neighbours within the noise "
        "is not certain.",
        frame=frame,
        chart=styled(_chart(frame, table)),
    )


def _lines(table: AblationTable, rows: list[Row], cost: str) -> list[dict[str, object]]:
    names = labels(table.rows)
    priced = [row for row in rows if getattr(row, cost) is not None]
    if len({getattr(row, cost) for row in priced}) < 2:
        return []
    metric = table.metric
    whole = [row for row in priced if row.num_completed == row.num_planned]
    points = [(getattr(row, cost), row.metrics[metric.name].mean) for row in whole]
    ranks = pareto_ranks(points, ["minimize", direction_of(metric.name)])
    on_front = {id(row): rank == 1 for row, rank in zip(whole, ranks, strict=True)}
    found = []
    for row in priced:
        mean, std = row.metrics[metric.name].mean, row.metrics[metric.name].std
        kind = _FRONT if on_front.get(id(row)) else _OTHER if id(row) in on_front else _PARTIAL
        found.append(
            {
                "variant": names[row.study, row.variant_id],
                "cost": _COSTS[cost],
                "value": getattr(row, cost),
                "mean": mean,
                "std": std,
                "low": None if std is None else mean - std,
                "high": None if std is None else mean + std,
                "seeds": row.num_completed,
                "on_front": bool(on_front.get(id(row))),
                "kind": _BASELINE if row.is_baseline else kind,
            }
        )
    return found


def _chart(frame: pd.DataFrame, table: AblationTable) -> alt.FacetChart:
    drawn = frame.assign(**_names(frame))
    kinds = [kind for kind in _LOOKS if kind in set(frame["kind"])]
    colours, shapes = zip(*(_LOOKS[kind] for kind in kinds), strict=True)
    legend = alt.Legend(title=None, orient="top")
    x = alt.X(
        "value:Q", title=None, axis=alt.Axis(tickCount=4, labelOverlap=True), scale=alt.Scale(zero=False, padding=12)
    )
    y = alt.Y("mean:Q", title=value_title(table.metric), scale=alt.Scale(zero=False, padding=12))
    base = alt.Chart(width=PANEL, height=_HEIGHT).encode(x=x)
    tooltip = [
        alt.Tooltip("variant:N"),
        alt.Tooltip("value:Q", title="cost", format=".4g"),
        alt.Tooltip("mean:Q", format=".3f"),
        alt.Tooltip("std:Q", format=".3f"),
        alt.Tooltip("seeds:Q"),
    ]
    words = {"fontSize": 11, "dy": -10, "limit": _NAME, "color": "#222222"}
    layers = alt.layer(
        base.mark_line(interpolate="step-after", color=BLUE, strokeWidth=1.5)
        .encode(y=y)
        .transform_filter("datum.on_front"),
        base.mark_rule(color=LIGHT, strokeWidth=1.5).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_point(size=70, filled=True, opacity=1).encode(
            y=y,
            color=alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=colours), legend=legend),
            shape=alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=shapes), legend=legend),
            tooltip=tooltip,
        ),
        base.mark_text(align="left", dx=-4, **words).encode(y=y, text="left:N"),
        base.mark_text(align="right", dx=4, **words).encode(y=y, text="right:N"),
        data=drawn,
    )
    order = [cost for cost in _COSTS.values() if cost in set(frame["cost"])]
    header = alt.Header(title=None, labelOrient="bottom", labelPadding=4)
    return layers.facet(facet=alt.Facet("cost:N", sort=order, header=header), columns=2).resolve_scale(x="independent")


def _names(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Labels of points on the front, left-aligned (`left`) or right-aligned: as many as fit without overlap."""
    found = {"left": [""] * len(frame), "right": [""] * len(frame)}
    for cost in set(frame["cost"]):
        points = [(index, line) for index, line in enumerate(frame.to_dict("records")) if line["cost"] == cost]
        values, means = [line["value"] for _, line in points], [line["mean"] for _, line in points]
        width, height = max(values) - min(values), (max(means) - min(means)) or 1.0
        taken: list[tuple[float, float, float]] = []
        # The baseline has priority, then the best: the other names are left out where they would overlap.
        wanted = [one for one in points if one[1]["on_front"] or one[1]["kind"] == _BASELINE]
        wanted.sort(key=lambda one: (one[1]["kind"] != _BASELINE, -one[1]["value"]))
        for index, line in wanted:
            x = (line["value"] - min(values)) / width * PANEL
            y = (line["mean"] - min(means)) / height * _HEIGHT
            length = min(_NAME, _LETTER * len(line["variant"]))
            start, stop = (x, x + length) if x <= PANEL / 2 else (x - length, x)
            if all(abs(y - above) >= _LINE or stop < left or start > right for left, right, above in taken):
                taken.append((start, stop, y))
                found["left" if x <= PANEL / 2 else "right"][index] = line["variant"]
    return found
