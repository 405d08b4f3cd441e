"""Main effects of a factorial or fractional design: the mean of the metric at each level of each factor.

Every panel uses all variants and so all trials. The interval is that of the level's mean, with the residual standard
deviation of the analysis (effects.py), in which seeds are blocks.
"""

from __future__ import annotations

import math
from statistics import fmean

import altair as alt
import pandas as pd

from results.effects.effects import Effects, effects
from results.figures.figure import Evidence, Figure
from results.figures.style import BLUE, GREY, styled, value_title
from results.stats.numbers import signed
from results.stats.paired import t_quantile
from results.table.table import AblationTable
from search_space.parsing.visible import visible

__all__ = ["DESIGNS", "draw"]

DESIGNS = ("factorial", "fractional")
_PANEL = 150


def draw(evidence: Evidence) -> Figure | None:
    """Draw the figure; None for designs that vary one factor at a time.

    Raises:
        SpecError: too few trials for the analysis.
    """
    table = evidence.table
    if table.design not in DESIGNS:
        return None
    found = effects(table)
    frame = pd.DataFrame(_lines(table, found))
    return Figure(
        name="main_effects",
        title="Main effects",
        caption=f"Mean over all {found.num_trials} trials at each level of each factor, with the 95 % interval that "
        "the residual standard deviation gives; the dashed line is the mean of all. Where factors interact, a mean "
        "over the others' levels hides it: see the interactions.",
        frame=frame,
        chart=styled(_chart(frame, table)),
        notes=_notes(table, found),
    )


def _lines(table: AblationTable, found: Effects) -> list[dict[str, object]]:
    metric = table.metric.name
    whole = [row for row in table.rows if row.name not in found.left_out]
    everything = [record.metrics[metric] for row in whole for record in row.records]
    lines = []
    for factor, levels in found.design.levels.items():
        for place, index in enumerate(_in_order(levels)):
            values = [
                record.metrics[metric]
                for row in whole
                if found.design.runs[row.variant_id][factor] == index
                for record in row.records
            ]
            if not values:
                continue
            half = t_quantile(found.residual_df) * found.residual_std / math.sqrt(len(values))
            mean = fmean(values)
            lines.append(
                {
                    "factor": visible(factor),
                    "level": visible(levels[index]),
                    "order": place,
                    "mean": mean,
                    "low": mean - half,
                    "high": mean + half,
                    "trials": len(values),
                    "overall": fmean(everything),
                }
            )
    return lines


def _in_order(levels: tuple[str, ...]) -> list[int]:
    """Order of the levels: numbers by size, others as given, with the baseline's first."""
    try:
        return sorted(range(len(levels)), key=lambda index: float(levels[index]))
    except ValueError:
        return list(range(len(levels)))


def _notes(table: AblationTable, found: Effects) -> tuple[str, ...]:
    decimals = table.metric.decimals
    notes = []
    for one in found.effects:
        numbers = f"p = {one.p_corrected:.2g} (Holm), {100 * one.share:.0f} % of the variance left by the others"
        if one.estimate is not None and one.low is not None and one.high is not None:
            low, high = signed(one.low, decimals), signed(one.high, decimals)
            numbers = f"{signed(one.estimate, decimals)} [{low}, {high}], {numbers}"
        notes.append(f"{one.name}: {numbers}.")
    if found.left_out:
        notes.append(f"Left out, because a seed is missing: {', '.join(found.left_out)}.")
    return tuple(notes)


def _chart(frame: pd.DataFrame, table: AblationTable) -> alt.FacetChart:
    x = alt.X("level:N", title=None, sort=alt.SortField("order"), axis=alt.Axis(labelLimit=110, labelAngle=-35))
    y = alt.Y("mean:Q", title=value_title(table.metric), scale=alt.Scale(zero=False))
    bare = alt.Chart(width=_PANEL, height=200)
    base = bare.encode(x=x)
    layers = alt.layer(
        bare.mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="overall:Q"),
        base.mark_line(color=BLUE, strokeWidth=1.5).encode(y=y, order="order:Q"),
        base.mark_rule(color=BLUE, strokeWidth=1.5).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_point(color=BLUE, filled=True, size=60, opacity=1).encode(
            y=y,
            tooltip=[
                alt.Tooltip("factor:N"),
                alt.Tooltip("level:N"),
                alt.Tooltip("mean:Q", format=".3f"),
                alt.Tooltip("low:Q", format=".3f"),
                alt.Tooltip("high:Q", format=".3f"),
                alt.Tooltip("trials:Q"),
            ],
        ),
        data=frame,
    )
    order = list(dict.fromkeys(frame["factor"]))
    header = alt.Header(title=None, labelLimit=_PANEL)
    return layers.facet(facet=alt.Facet("factor:N", sort=order, header=header), columns=3).resolve_scale(
        x="independent"
    )
