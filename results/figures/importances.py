"""Hyperparameter importances of a search, by method."""

from __future__ import annotations

import altair as alt
import pandas as pd

from results.figures.figure import Evidence, Figure
from results.figures.style import PALETTE, WIDTH, names_axis, styled
from search_space.parsing.visible import visible

__all__ = ["draw"]

_NAMES = {"ped_anova": "PED-ANOVA", "fanova": "fANOVA"}


def draw(evidence: Evidence) -> Figure | None:
    """Draw the figure; None without importances."""
    frame = pd.DataFrame(
        [
            {"method": _NAMES.get(method, visible(method)), "parameter": visible(parameter), "share": share}
            for method, shares in evidence.importances.items()
            for parameter, share in shares.items()
        ]
    )
    if frame.empty:
        return None
    return Figure(
        name="importances",
        title="Importance of the parameters of the search",
        caption="Shares add up to 1 per method. PED-ANOVA: parameters that distinguish the best tenth of the trials "
        "from all; fANOVA: parameters that explain the variance over the whole space, without those that some trial "
        "lacks. Both are of the trials that the sampler chose. They may disagree, and neither shows that a component "
        "helps: designs with a baseline do.",
        frame=frame,
        chart=styled(_chart(frame)),
    )


def _chart(frame: pd.DataFrame) -> alt.Chart:
    largest: dict[str, float] = {}
    for parameter, share in zip(frame["parameter"], frame["share"], strict=True):
        largest[parameter] = max(largest.get(parameter, 0.0), share)
    order = sorted(largest, key=lambda parameter: -largest[parameter])
    methods = list(dict.fromkeys(frame["method"]))
    return (
        alt.Chart(frame, width=WIDTH, height=alt.Step(14, **{"for": "offset"}))
        .mark_bar()
        .encode(
            y=alt.Y("parameter:N", sort=order, axis=names_axis()),
            yOffset=alt.YOffset("method:N", sort=methods),
            x=alt.X("share:Q", title="share of the importance"),
            color=alt.Color(
                "method:N",
                scale=alt.Scale(domain=methods, range=PALETTE[: len(methods)]),
                legend=alt.Legend(title=None, orient="top", columns=1),
            ),
            tooltip=[alt.Tooltip("parameter:N"), alt.Tooltip("method:N"), alt.Tooltip("share:Q", format=".3f")],
        )
    )
