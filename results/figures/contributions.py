"""Contributions of components, alone and beside all others: add_one_in and leave_one_out, `shapley`, which has both and
the Shapley value between them, or `path`, which has the gain of each step (results/effects).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import altair as alt
import pandas as pd

from results.effects.contributions import Contribution, contributions
from results.effects.path import PathEffects, path_effects
from results.effects.shapley import ShapleyValues, shapley
from results.figures.figure import Chart, Evidence, Figure
from results.figures.style import BLACK, BLUE, GREY, ORANGE, WIDTH, change_title, names_axis, styled
from results.stats.numbers import level_percent
from results.stats.paired import PairedDelta
from results.table.table import AblationTable
from search_space.parsing.errors import SpecError
from search_space.parsing.visible import visible

__all__ = ["draw"]

_ALONE, _SHAPLEY, _IN_FULL = "alone", "Shapley value", "beside all others"
_ON_PATH, _CHOOSING = "on the path", "on the path, at the seeds that chose it"
_MARKS = {_ALONE: (BLUE, "circle"), _SHAPLEY: (BLACK, "diamond"), _IN_FULL: (ORANGE, "square")}
_MARKS_OF_PATH = {_ON_PATH: (BLACK, "diamond"), _CHOOSING: (GREY, "cross"), **_MARKS}
_MORE = ("p_equal", "p_corrected", "order_error")


def draw(evidence: Evidence) -> Figure | None:
    """Draw the figure for a run of `shapley` or `path`, and for one of leave_one_out if the report has one of
    add_one_in, too.

    Raises:
        SpecError: the two runs cannot be compared, or no Shapley value and no step can be computed.
    """
    table = evidence.table
    if table.design == "shapley" and table.blocks is None:
        return _of_shapley(table, shapley(table))
    if table.path is not None:
        return _of_path(table, path_effects(table))
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
        chart=styled(_chart(frame, table, [_ALONE, _IN_FULL])),
        notes=tuple(f"Disagreement: {one.warning}." for one in found if one.warning),
    )


def _lines(found: Iterable[Contribution]) -> Iterable[dict[str, object]]:
    for one in found:
        for place, delta in ((_ALONE, one.alone), (_IN_FULL, one.in_full)):
            yield {
                **_line(one.component, place, delta),
                "p_equal": one.p_corrected,
                "disagree": bool(one.warning),
            }


def _of_shapley(table: AblationTable, found: ShapleyValues) -> Figure:
    frame = pd.DataFrame(_shapley_lines(found))
    if frame.empty:
        lacking = f", and {len(found.missing)} of {found.num_coalitions} coalitions lack seeds"
        raise SpecError(f"a Shapley value needs all of its coalitions at the same seed{lacking}")
    how = f"from {found.num_orders} sampled orders" if found.num_orders else f"of {found.num_coalitions} coalitions"
    outside = "; the standard error of sampling orders is not in them" if found.num_orders else ""
    return Figure(
        name="contributions",
        title="What each component contributes",
        caption=f"Shapley values {how}: the mean gain of a component over the orders in which components are added, "
        "between its gain over no component (alone, as add_one_in) and its gain beside all others (as leave_one_out). "
        f"{level_percent(table.analysis.alpha)} % t-intervals over the seeds, unadjusted{outside}. Where the three "
        "differ the component interacts with others.",
        frame=frame,
        chart=styled(_chart(frame, table, list(_MARKS))),
    )


def _shapley_lines(found: ShapleyValues) -> Iterable[dict[str, object]]:
    for one in found.values:
        for place, delta in ((_ALONE, one.alone), (_SHAPLEY, one.value), (_IN_FULL, one.in_full)):
            if one.value is not None and delta is not None:
                is_value = place == _SHAPLEY
                yield {
                    **_line(one.component, place, delta),
                    "p_corrected": one.p_corrected if is_value else None,
                    "order_error": one.order_error if is_value else None,
                }


def _of_path(table: AblationTable, found: PathEffects) -> Figure:
    frame = pd.DataFrame(_path_lines(found))
    if frame.empty or table.path is None:
        raise SpecError("no step of the path has a seed with both of its rows so far")
    chosen, judged = (", ".join(map(str, seeds)) for seeds in (table.path.choosing, table.path.judging))
    present = [place for place in _MARKS_OF_PATH if place in set(frame["place"])]
    others = " Beside it the gain over no component (alone, as add_one_in) and beside all others (as leave_one_out)."
    return Figure(
        name="contributions",
        title="What each component contributes",
        caption="Components from top to bottom in the order of the greedy path, each with its gain over the step "
        f"before. The steps are chosen at the seeds {chosen} and measured at the seeds {judged}, which chose nothing; "
        "at the seeds that chose them selection flatters the values of both rows of a step, and so their difference is "
        "no estimate."
        f"{others if table.path.compares else ''} {level_percent(table.analysis.alpha)} % t-intervals over the seeds "
        "that judge, unadjusted.",
        frame=frame,
        chart=styled(_chart(frame, table, present)),
    )


def _path_lines(found: PathEffects) -> Iterable[dict[str, object]]:
    for one in found.steps:
        for place, delta in ((_ON_PATH, one.gain), (_ALONE, one.alone), (_IN_FULL, one.in_full)):
            if one.gain is None or delta is None:
                continue
            yield {
                **_line(one.component, place, delta),
                "p_corrected": one.p_corrected if place == _ON_PATH else None,
            }
            if place == _ON_PATH and one.choosing_gain is not None:
                yield {
                    "component": visible(one.component),
                    "place": _CHOOSING,
                    "contribution": one.choosing_gain,
                    "low": None,
                    "high": None,
                    "pairs": None,
                    "p_corrected": None,
                }


def _line(component: str, place: str, delta: PairedDelta) -> dict[str, object]:
    return {
        "component": visible(component),
        "place": place,
        "contribution": delta.mean,
        "low": delta.low,
        "high": delta.high,
        "pairs": delta.num_pairs,
    }


def _chart(frame: pd.DataFrame, table: AblationTable, places: Sequence[str]) -> Chart:
    order = list(dict.fromkeys(frame["component"]))
    y = alt.Y("component:N", sort=order, axis=names_axis())
    offset = alt.YOffset("place:N", sort=places, scale=alt.Scale(paddingOuter=0.5))
    legend = alt.Legend(title=None, orient="top", columns=1)
    colours, shapes = ([_MARKS_OF_PATH[place][index] for place in places] for index in (0, 1))
    colour = alt.Color("place:N", scale=alt.Scale(domain=places, range=colours), legend=legend)
    shape = alt.Shape("place:N", scale=alt.Scale(domain=places, range=shapes), legend=legend)
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
                *(alt.Tooltip(f"{name}:Q", format=".3g") for name in _MORE if name in frame),
            ],
        ),
    )
