"""Optimisation history of a search: the value of every trial in the order of the sampler, and the best so far."""

from __future__ import annotations

import math
from statistics import fmean

import altair as alt
import pandas as pd

from results.figures.figure import Chart, Evidence, Figure
from results.figures.style import BLUE, GREY, ORANGE, WIDTH, styled, value_title
from results.store.records import TrialRecord
from results.table.planned import planned_trials
from search_space.parsing.visible import visible

__all__ = ["draw"]

_LOOKS = {"completed": (BLUE, "circle"), "pruned": (GREY, "cross")}


def draw(evidence: Evidence) -> Figure | None:
    """Draw the figure; None for other designs and for a search of fewer than two trials."""
    table = evidence.table
    metric = table.ordered_by or table.metric.name
    if table.design != "search":
        return None
    trials = planned_trials(evidence.run.plan, evidence.run.deciding.values())
    proposals = [list(seeds.values()) for seeds in trials.values()]
    proposals = [records for records in proposals if all(record.number is not None for record in records)]
    proposals.sort(key=lambda records: (records[0].number or 0, records[0].trial_id))
    is_maximised = table.metric.direction == "maximize"
    best, lines = -math.inf if is_maximised else math.inf, []
    for records in proposals:
        values = [value for record in records if (value := _value(record, metric)) is not None]
        if not values:
            continue
        value, record = fmean(values), records[0]
        statuses = {record.status for record in records}
        is_whole = statuses == {"completed"} and len(records) == len(table.seeds)
        if is_whole:
            best = max(best, value) if is_maximised else min(best, value)
        lines.append(
            {
                "trial": record.number,
                "variant": visible(record.variant),
                "status": "pruned" if "pruned" in statuses else record.status,
                "value": value,
                "epochs": max(record.epochs for record in records),
                "best": best if math.isfinite(best) else None,
            }
        )
    frame = pd.DataFrame(lines)
    if len(frame) < 2:
        return None
    return Figure(
        name="search_history",
        title="Course of the search",
        caption="Every suggestion in the order of the sampler, at its mean over the seeds if it has several; the line "
        "is the best completed one so far. A pruned trial is shown at its last epoch's value and does not compete with "
        "completed ones. The value of the best of many trials is biased upwards: confirm it on other seeds.",
        frame=frame,
        chart=styled(_chart(frame, metric)),
    )


def _value(record: TrialRecord, metric: str) -> float | None:
    last = record.curve[-1] if record.curve else {}
    value = record.metrics.get(metric) if record.status == "completed" else last.get(metric)
    return value if value is not None and math.isfinite(value) and record.status in _LOOKS else None


def _chart(frame: pd.DataFrame, metric: str) -> Chart:
    kinds = [kind for kind in _LOOKS if kind in set(frame["status"])]
    colours, shapes = zip(*(_LOOKS[kind] for kind in kinds), strict=True)
    legend = alt.Legend(title=None, orient="top")
    x = alt.X("trial:Q", title="trial of the search", axis=alt.Axis(tickMinStep=1, format="d"))
    base = alt.Chart(frame, width=WIDTH, height=240).encode(x=x)
    y = alt.Y("value:Q", title=value_title(metric), scale=alt.Scale(zero=False))
    return alt.layer(
        base.mark_line(interpolate="step-after", color=ORANGE, strokeWidth=1.5).encode(y="best:Q"),
        base.mark_point(size=50, filled=True, opacity=0.9).encode(
            y=y,
            color=alt.Color("status:N", scale=alt.Scale(domain=kinds, range=colours), legend=legend),
            shape=alt.Shape("status:N", scale=alt.Scale(domain=kinds, range=shapes), legend=legend),
            tooltip=[
                alt.Tooltip("trial:Q"),
                alt.Tooltip("variant:N"),
                alt.Tooltip("status:N"),
                alt.Tooltip("value:Q", format=".3f"),
                alt.Tooltip("epochs:Q"),
            ],
        ),
    )
