"""Forest plot: the mean paired difference of every arm to the baseline with its interval, by verdict."""

from __future__ import annotations

import altair as alt
import pandas as pd

from results.figures.figure import Chart, Evidence, Figure, in_two_lines, labels, listed
from results.figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, WIDTH, change_title, names_axis, styled
from results.layout.caption import interval_name
from results.layout.sentences.seed_sources import draws_test_splits
from results.table.table import AblationTable

__all__ = ["draw"]

_UNTESTED = "not tested"
_LOOKS = {
    "better": (BLUE, "triangle-up"),
    "worse": (ORANGE, "triangle-down"),
    "equivalent": (GREEN, "square"),
    "inconclusive": (GREY, "circle"),
    "incomplete": (GREY, "cross"),
    "unequal budget": (GREY, "stroke"),
    _UNTESTED: (BLACK, "diamond"),
}


def draw(evidence: Evidence) -> Figure | None:
    """Draw the figure; None for a search, whose rows were selected by their values, and without differences."""
    table = evidence.table
    names = labels(table.rows)
    rows = [row for row in table.rows if row.delta is not None]
    if not rows or table.design == "search":
        return None
    frame = pd.DataFrame(
        [
            {
                "variant": names[row.study, row.variant_id],
                "delta": row.delta.mean,
                "low": row.delta.low,
                "high": row.delta.high,
                "pairs": row.delta.num_pairs,
                "sd": row.delta.std,
                "p": row.p,
                "p_corrected": row.p_corrected,
                "p_equivalence": row.p_equivalence,
                "p_equivalence_corrected": row.p_equivalence_corrected,
                "verdict": row.verdict or _UNTESTED,
            }
            for row in rows
            if row.delta is not None
        ]
    )
    shown, notes = listed(frame, "delta")
    test_set = "test splits that each seed draws" if draws_test_splits(table.seed_sources) else "this fixed test set"
    what = f"Mean of the same-seed differences and its {interval_name(table)}, for {test_set}"
    if table.blocks is not None:
        what = f"Mean over the blocks of the same-seed differences within each, and its {interval_name(table)}"
        if not table.blocks.is_resampled:
            what = "Mean over the blocks of the same-seed differences within each, without an interval"
    return Figure(
        name="deltas",
        title="Differences to the baseline",
        caption=f"{what}; colour and shape give the verdict of the corrected test.{_disagreement(table)}",
        frame=frame,
        chart=styled(_chart(shown, evidence)),
        notes=notes,
    )


def _disagreement(table: AblationTable) -> str:
    has_intervals = any(row.delta is not None and row.delta.low is not None for row in table.rows)
    if table.analysis.interval == "simultaneous" or (table.blocks is not None and not has_intervals):
        return ""
    return " An interval is for its row alone, a verdict for all rows together, so the two may disagree."


def _chart(shown: pd.DataFrame, evidence: Evidence) -> Chart:
    kinds = [kind for kind in _LOOKS if kind in set(shown["verdict"])]
    colours, shapes = zip(*(_LOOKS[kind] for kind in kinds), strict=True)
    shown = shown.assign(label=[in_two_lines(name) for name in shown["variant"]])
    order = list(shown["label"])
    y = alt.Y("label:N", sort=order, axis=names_axis(labelFontSize=11))
    x = alt.X("delta:Q", title=change_title(evidence.table.metric))
    legend = alt.Legend(title=None, orient="top")
    colour = alt.Color("verdict:N", scale=alt.Scale(domain=kinds, range=colours), legend=legend)
    base = alt.Chart(shown, width=WIDTH, height=alt.Step(30))
    layers = [
        alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=GREY, strokeDash=[4, 3]).encode(x="zero:Q"),
        base.mark_rule(strokeWidth=2).encode(y=y, x="low:Q", x2="high:Q", color=colour),
        base.mark_point(size=80, filled=True, opacity=1).encode(
            y=y,
            x=x,
            color=colour,
            shape=alt.Shape("verdict:N", scale=alt.Scale(domain=kinds, range=shapes), legend=legend),
            tooltip=[
                alt.Tooltip("variant:N"),
                alt.Tooltip("delta:Q", format="+.3f"),
                alt.Tooltip("low:Q", format="+.3f"),
                alt.Tooltip("high:Q", format="+.3f"),
                alt.Tooltip("pairs:Q"),
                alt.Tooltip("p_corrected:Q", format=".3g"),
                alt.Tooltip("verdict:N"),
            ],
        ),
    ]
    margin = evidence.table.analysis.margin
    if margin is not None:
        band = pd.DataFrame({"from": [-margin], "to": [margin]})
        layers.insert(0, alt.Chart(band).mark_rect(color=GREEN, opacity=0.12).encode(x="from:Q", x2="to:Q"))
    return alt.layer(*layers)
