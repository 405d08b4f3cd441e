"""Contributions of components, alone and beside all others: add_one_in and leave_one_out (results/effects)."""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt
import pandas as pd

from results.effects.contributions import Contribution, contributions
from results.figures.figure import Chart, Evidence, Figure
from results.figures.style import BLUE, GREY, ORANGE, WIDTH, change_title, names_axis, styled
from results.stats.numbers import level_percent
from results.table.table import AblationTable
from search_space.parsing.visible import visible

__all__ = ["draw"]

_ALONE, _IN_FULL = "alone", "beside all others"


def draw(evidence: Evidence) -> Figure | None:
    """Draw the figure for a leave_one_out run; None unless the report has an add_one_in run, too.

    Raises:
        SpecError: the two runs cannot be compared.
    """
    table = evidence.table
    partner = next((one for one in evidence.others if one.design == "add_one_in"), None)
    if table.design != "leave_one_out" or partner is None:
        return None
    found = contributions(table, partner)
    frame = pd.DataFrame(_lines(found))
    return Figure(
        name="contributions",
        title="What each component contributes",
        caption=f"Paired differences with {level_percent(table.analysis.alpha)} % t-intervals, unadjusted: the gain "
        "from adding the component to none (add_one_in) and the loss from removing it from all (leave_one_out). Where "
        "the two disagree the components interact, and neither is the contribution.",
        frame=frame,
        chart=styled(_chart(frame, table)),
        notes=tuple(f"Disagreement: {one.warning}." for one in found if one.warning),
    )


def _lines(found: Iterable[Contribution]) -> Iterable[dict[str, object]]:
    for one in found:
        for place, delta in ((_ALONE, one.alone), (_IN_FULL, one.in_full)):
            yield {
                "component": visible(one.component),
                "place": place,
                "contribution": delta.mean,
                "low": delta.low,
                "high": delta.high,
                "pairs": delta.num_pairs,
                "p_equal": one.p_corrected,
                "disagree": bool(one.warning),
            }


def _chart(frame: pd.DataFrame, table: AblationTable) -> Chart:
    places, order = [_ALONE, _IN_FULL], list(dict.fromkeys(frame["component"]))
    y = alt.Y("component:N", sort=order, axis=names_axis())
    offset = alt.YOffset("place:N", sort=places, scale=alt.Scale(paddingOuter=0.5))
    legend = alt.Legend(title=None, orient="top", columns=1)
    colour = alt.Color("place:N", scale=alt.Scale(domain=places, range=[BLUE, ORANGE]), legend=legend)
    shape = alt.Shape("place:N", scale=alt.Scale(domain=places, range=["circle", "square"]), legend=legend)
    base = alt.Chart(frame, width=WIDTH, height=alt.Step(24, **{"for": "position"}))
    return alt.layer(
        alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=GREY, strokeDash=[4, 3]).encode(x="zero:Q"),
        base.mark_rule(strokeWidth=2).encode(y=y, yOffset=offset, x="low:Q", x2="high:Q", color=colour),
        base.mark_point(size=70, filled=True, opacity=1).encode(
            y=y,
            yOffset=offset,
            x=alt.X("contribution:Q", title=change_title(table.metric, "\u0394")),
            color=colour,
            shape=shape,
            tooltip=[
                alt.Tooltip("component:N"),
                alt.Tooltip("place:N"),
                alt.Tooltip("contribution:Q", format="+.3f"),
                alt.Tooltip("low:Q", format="+.3f"),
                alt.Tooltip("high:Q", format="+.3f"),
                alt.Tooltip("p_equal:Q", format=".3g"),
            ],
        ),
    )
