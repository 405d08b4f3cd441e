"""Learning curves: mean over seeds and a band of one standard deviation, per variant."""

from __future__ import annotations

import math
from collections.abc import Iterable

import altair as alt
import pandas as pd

from results.figures.figure import Evidence, Figure, labels, only
from results.figures.style import BLACK, LIGHT, PALETTE, PANEL, styled, value_title
from results.stats.paired import summarise
from results.store.records import TrialRecord
from results.table.table import AblationTable, Row
from search_space.parsing.errors import Problem, SpecError

__all__ = ["draw"]

_MOST_POINTS = 2500
_MOST_TICKS = 12
_MOST_OTHERS = 40


def draw(evidence: Evidence) -> Figure | None:
    """Draw the figure; None where no trial has two epochs.

    Raises:
        SpecError: the blocks of the design are of different kind, so that there is no mean curve over them.
    """
    table = evidence.table
    if table.blocks is not None and not table.blocks.is_resampled:
        message = "there is no mean of the curves of blocks of different kind"
        raise SpecError(Problem(message, where=table.sweep, hint="curves.csv has those of every trial"))
    over = "seeds" if table.blocks is None else "seeds of all blocks"
    quantities = _quantities(table)
    names = labels(table.rows)
    frame = pd.DataFrame([line for row in table.rows for line in _lines(row, quantities, names)])
    if frame.empty or len(set(frame["epoch"])) < 2:
        return None
    shown = _coloured(table)
    variants = list(dict.fromkeys(frame["variant"]))
    notes = []
    if len(variants) > len(shown):
        rest = min(len(variants) - len(shown), _MOST_OTHERS)
        notes.append(f"In colour: the baseline and the best {len(shown) - 1}; grey: {rest} others; the CSV holds all.")
    return Figure(
        name="curves",
        title="Learning curves",
        caption=f"After every epoch: mean over the completed {over}, and a band of one standard deviation (n - 1) to "
        "either side. A variant without a completed seed is drawn up to the last epoch that all its seeds have.",
        frame=frame,
        chart=styled(_chart(_thinned(frame, shown), shown, quantities)),
        notes=tuple(notes),
    )


def _quantities(table: AblationTable) -> list[str]:
    """Metric of the table on the split that was evaluated during training, and the training loss."""
    seen = {name for row in table.rows for record in row.records for point in record.curve for name in point}
    metric = table.metric.name
    return [name for name in (metric, f"val_{metric}", "train_loss") if name in seen]


def _lines(
    row: Row, quantities: list[str], names: dict[tuple[str, str], str]
) -> Iterable[dict[str, str | int | float | None]]:
    completed = [record for record in row.records if record.status == "completed" and record.curve]
    curves = [_by_epoch(record) for record in completed or [record for record in row.records if record.curve]]
    if not curves:
        return
    epochs = sorted(set.intersection(*(set(curve) for curve in curves)))
    for quantity in quantities:
        for epoch in epochs:
            values = [value for curve in curves if math.isfinite(value := curve[epoch].get(quantity, math.nan))]
            summary = summarise(values)
            if summary is not None and summary.num == len(curves):
                yield {
                    "variant": names[row.study, row.variant_id],
                    "quantity": quantity,
                    "epoch": epoch,
                    "mean": summary.mean,
                    "std": summary.std,
                    "seeds": summary.num,
                }


def _by_epoch(record: TrialRecord) -> dict[int, dict[str, float]]:
    return {int(point["epoch"]): point for point in record.curve if "epoch" in point}


def _coloured(table: AblationTable) -> dict[str, str]:
    """Colours by variant: the baseline in black, and the best of the others, in the order of the table."""
    names = labels(table.rows)
    metric = table.metric
    sign = -1 if metric.direction == "maximize" else 1
    variants = [row for row in table.rows if not row.is_baseline]
    if len(variants) > len(PALETTE):
        ranked = [row for row in variants if metric.name in row.metrics]
        ranked.sort(key=lambda row: sign * row.metrics[metric.name].mean)
        chosen = {id(row) for row in ranked[: len(PALETTE)]}
        variants = [row for row in variants if id(row) in chosen]
    found = {names[row.study, row.variant_id]: BLACK for row in table.rows if row.is_baseline}
    return found | {names[row.study, row.variant_id]: colour for row, colour in zip(variants, PALETTE, strict=False)}


def _thinned(frame: pd.DataFrame, shown: dict[str, str]) -> pd.DataFrame:
    """Rows to draw: a limited number of grey lines, and every k-th epoch plus the first and last of each line."""
    variants = list(dict.fromkeys(frame["variant"]))
    others = [name for name in variants if name not in shown][:_MOST_OTHERS]
    frame = only(frame, [*shown, *others])
    step = math.ceil(len(frame) / _MOST_POINTS)
    last = frame.groupby("variant")["epoch"].transform("max")
    frame = frame.astype({"std": float})
    frame = frame.loc[(frame["epoch"] % step == 1 % step) | (frame["epoch"] == 1) | (frame["epoch"] == last)]
    in_colour = frame["variant"].isin(list(shown))
    drawn = frame.drop(columns="seeds").assign(in_colour=in_colour)
    # The standard deviation of grey lines is not drawn, so it need not be in the page.
    drawn["std"] = drawn["std"].where(in_colour)
    return drawn.assign(low=drawn["mean"] - drawn["std"], high=drawn["mean"] + drawn["std"])


def _chart(drawn: pd.DataFrame, shown: dict[str, str], quantities: list[str]) -> alt.FacetChart:
    present = [name for name in shown if name in set(drawn["variant"])]
    titles = {name: value_title(name) if name != "train_loss" else "training loss (nats)" for name in quantities}
    drawn = drawn.assign(quantity=[titles[name] for name in drawn["quantity"]])
    legend = alt.Legend(title=None, orient="top", columns=2, symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1)
    colour = alt.Color(
        "variant:N", scale=alt.Scale(domain=present, range=[shown[name] for name in present]), legend=legend
    )
    longest = int(max(drawn["epoch"]))
    # For few epochs a tick at each, because default ticks may fall between two epochs.
    ticks = list(range(1, longest + 1)) if longest <= _MOST_TICKS else alt.Undefined
    x = alt.X("epoch:Q", title="epoch", axis=alt.Axis(values=ticks, format="d"))
    y = alt.Y("mean:Q", title=None, scale=alt.Scale(zero=False))
    base = alt.Chart(width=PANEL, height=220).encode(x=x)
    layers = alt.layer(
        base.mark_line(color=LIGHT, strokeWidth=1).encode(y=y, detail="variant:N").transform_filter("!datum.in_colour"),
        base.mark_area(opacity=0.15)
        .encode(y=alt.Y("low:Q"), y2="high:Q", color=colour)
        .transform_filter("datum.in_colour && isValid(datum.std)"),
        base.mark_line(strokeWidth=2)
        .encode(
            y=y,
            color=colour,
            tooltip=[
                alt.Tooltip("variant:N"),
                alt.Tooltip("epoch:Q"),
                alt.Tooltip("mean:Q", format=".4g"),
                alt.Tooltip("std:Q", format=".3g"),
            ],
        )
        .transform_filter("datum.in_colour"),
        data=drawn,
    )
    header = alt.Header(title=None, labelPadding=6)
    facet = alt.Facet("quantity:N", sort=[titles[name] for name in quantities], header=header)
    return layers.facet(facet=facet, columns=2).resolve_scale(y="independent")
