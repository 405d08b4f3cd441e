"""Two-way interactions of a factorial or fractional design as a heatmap of factors by factors.

Colour is partial eta squared, which is defined for any number of levels; the text is the effect itself where both
factors have two levels. Terms that cannot be estimated are grey, with the reason.
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from results.effects.aliasing import COMPLETE, alias_statements, aliases
from results.effects.effects import Effects, effects
from results.figures.figure import Chart, Evidence, Figure
from results.figures.main_effects import DESIGNS
from results.figures.style import LIGHT, names_axis, styled
from results.layout.caption import significance_stars
from results.stats.hypothesis_tests import CORRECTION_NAMES
from results.stats.numbers import signed
from results.table.table import AblationTable
from search_space.parsing.visible import visible

__all__ = ["draw"]

_CELL = 70
_LEAST_CELL = 44
_MOST_WIDE = 400


def draw(evidence: Evidence) -> Figure | None:
    """Draw the figure; None for other designs, and where there is only one factor.

    Raises:
        SpecError: too few trials for the analysis.
    """
    table = evidence.table
    if table.design not in DESIGNS:
        return None
    found = effects(table)
    if len(found.design.levels) < 2:
        return None
    frame = pd.DataFrame(_lines(table, found))
    aliased = [f"Aliased by design: {statement}." for statement in alias_statements(table)]
    return Figure(
        name="interactions",
        title="Interactions of two factors",
        caption="Off the diagonal: how far the effect of one factor depends on the other; on it: the factor by itself. "
        "Colour: share of the variance that the term explains of what the others leave (partial eta squared). Text: "
        f"the effect where both factors have two levels, else that share; stars as in the table {_corrected(table)}. "
        "Grey: not estimated, because it is confounded with another term (aliased) or for lack of trials (n/a).",
        frame=frame,
        chart=styled(_chart(frame, len(found.design.levels))),
        notes=tuple(aliased),
    )


def _corrected(table: AblationTable) -> str:
    name = CORRECTION_NAMES[table.analysis.correction]
    return f"({name})" if table.analysis.correction == "none" else f"({name} over all terms)"


def _lines(table: AblationTable, found: Effects) -> list[dict[str, object]]:
    by_term = {one.term: one for one in found.effects}
    place = {name: index for index, name in enumerate(found.design.levels)}
    pairs = aliases(found.design)
    aliased = {term for pair, size in pairs.items() if abs(size) >= COMPLETE for term in pair}
    lines = []
    for term in found.design.terms:
        one = by_term.get(term)
        text = ""
        if one is not None:
            text = f"{one.share:.2f}" if one.estimate is None else signed(one.estimate, table.metric.decimals)
            text += significance_stars(one.p_corrected, table.analysis.alpha)
        lines.append(
            {
                "row": visible(term[-1]),
                "column": visible(term[0]),
                "row_order": place[term[-1]],
                "column_order": place[term[0]],
                "estimate": one.estimate if one else None,
                "low": one.low if one else None,
                "high": one.high if one else None,
                "partial_eta_squared": one.share if one else None,
                "interval_level": 1 - table.analysis.alpha if one else None,
                "p": one.p if one else None,
                "p_corrected": one.p_corrected if one else None,
                "correction": CORRECTION_NAMES[table.analysis.correction] if one else None,
                "text": text or ("aliased" if term in aliased else "n/a"),
            }
        )
    return lines


def _chart(frame: pd.DataFrame, num_factors: int) -> Chart:
    cell = max(_LEAST_CELL, min(_CELL, _MOST_WIDE // num_factors))
    x = alt.X(
        "column:N",
        title=None,
        sort=alt.SortField("column_order"),
        axis=alt.Axis(labelAngle=-35, labelLimit=130, ticks=False, domain=False),
    )
    y = alt.Y("row:N", sort=alt.SortField("row_order"), axis=names_axis(labelLimit=130))
    base = alt.Chart(frame, width=cell * num_factors, height=min(cell, 48) * num_factors).encode(x=x, y=y)
    colour = alt.Color(
        "partial_eta_squared:Q",
        scale=alt.Scale(domain=[0, 1], scheme="blues"),
        legend=alt.Legend(title="share of the variance", orient="top", gradientLength=200, tickCount=3),
    )
    known = "isValid(datum.partial_eta_squared)"
    tooltip = [
        alt.Tooltip("column:N"),
        alt.Tooltip("row:N"),
        alt.Tooltip("estimate:Q", format="+.3f"),
        alt.Tooltip("low:Q", format="+.3f"),
        alt.Tooltip("high:Q", format="+.3f"),
        alt.Tooltip("partial_eta_squared:Q", format=".3f"),
        alt.Tooltip("p_corrected:Q", format=".3g"),
    ]
    on_dark = alt.condition("datum.partial_eta_squared > 0.6", alt.value("white"), alt.value("#222222"))
    return alt.layer(
        base.mark_rect(color=LIGHT, opacity=0.4).transform_filter(f"!{known}"),
        base.mark_rect(stroke="white").encode(color=colour, tooltip=tooltip).transform_filter(known),
        base.mark_text(fontSize=11).encode(text="text:N", color=on_dark),
    )
