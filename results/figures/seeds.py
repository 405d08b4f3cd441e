"""Paired differences by seed: influence of single seeds on the mean, and variance removed by pairing."""

from __future__ import annotations

import math

import altair as alt
import pandas as pd

from results.figures.figure import Chart, Evidence, Figure, in_two_lines, labels, listed
from results.figures.style import BLACK, GREY, PALETTE, WIDTH, change_title, names_axis, styled
from results.table.table import Row

__all__ = ["draw"]

_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")


def draw(evidence: Evidence) -> Figure | None:
    """Draw the figure; None for a search and below two shared seeds."""
    table = evidence.table
    baseline = table.baseline
    if baseline is None or table.design == "search":
        return None
    names = labels(table.rows)
    metric = table.metric.name
    bases = {block: _values(cell, metric) for block, cell in baseline.cells.items()}
    found = [
        {
            "variant": names[row.study, row.variant_id],
            **({"block": block} if table.blocks is not None else {}),
            "seed": seed,
            "baseline": base[seed],
            "value": value,
            "difference": value - base[seed],
        }
        for row in table.rows
        if not row.is_baseline
        for block, cell in row.cells.items()
        for base in [bases.get(block, {})]
        for seed, value in _values(cell, metric).items()
        if seed in base
    ]
    frame = pd.DataFrame(found)
    if frame.empty or frame["variant"].duplicated().sum() == 0:
        return None
    shown, notes = listed(frame, "difference")
    within = "" if table.blocks is None else " and block"
    return Figure(
        name="seeds",
        title="Differences seed by seed",
        caption=f"One mark per seed{within}: the variant's value minus the baseline's at the same seed; the bar is "
        "their mean. "
        "A seed that is on the same side in every row was a lucky or unlucky one for the baseline.",
        frame=frame,
        chart=styled(_chart(shown, evidence)),
        notes=notes,
    )


def _values(row: Row, metric: str) -> dict[int, float]:
    completed = {record.seed: record.metrics.get(metric) for record in row.records if record.status == "completed"}
    return {seed: value for seed, value in completed.items() if value is not None and math.isfinite(value)}


def _chart(shown: pd.DataFrame, evidence: Evidence) -> Chart:
    shown = shown.assign(label=[in_two_lines(name) for name in shown["variant"]])
    order = list(dict.fromkeys(shown["label"]))
    seeds = sorted(set(shown["seed"]))
    y = alt.Y("label:N", sort=order, axis=names_axis(labelFontSize=11))
    means = shown.groupby("label", sort=False, as_index=False)["difference"].mean()
    marks = alt.Chart(shown, width=WIDTH, height=alt.Step(30))
    x = alt.X("difference:Q", title=change_title(evidence.table.metric))
    tooltip = [
        alt.Tooltip("variant:N"),
        alt.Tooltip("seed:O"),
        alt.Tooltip("baseline:Q", format=".3f"),
        alt.Tooltip("value:Q", format=".3f"),
        alt.Tooltip("difference:Q", format="+.3f"),
    ]
    if len(seeds) <= len(PALETTE):
        legend = alt.Legend(title="seed", orient="top")
        colour = alt.Color("seed:N", scale=alt.Scale(domain=seeds, range=PALETTE[: len(seeds)]), legend=legend)
        shape = alt.Shape("seed:N", scale=alt.Scale(domain=seeds, range=_SHAPES[: len(seeds)]), legend=legend)
        points = marks.mark_point(size=60, filled=True, opacity=0.9).encode(
            y=y, x=x, color=colour, shape=shape, tooltip=tooltip
        )
    else:
        points = marks.mark_point(size=50, color=PALETTE[0], opacity=0.7).encode(y=y, x=x, tooltip=tooltip)
    return alt.layer(
        alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=GREY, strokeDash=[4, 3]).encode(x="zero:Q"),
        alt.Chart(means).mark_tick(color=BLACK, thickness=2, size=20).encode(y=y, x="difference:Q"),
        points,
    )
