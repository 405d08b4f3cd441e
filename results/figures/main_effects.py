"""Main effects of a factorial or fractional design: the adjusted mean of the metric at each level of each factor.

Every panel uses all variants and so all trials. A raw mean over the variants at a level would contain the effects of
other factors where variants are missing; the adjusted one (effects.py) does not, and equals it where none is.
"""

from __future__ import annotations

from statistics import fmean

import altair as alt
import pandas as pd

from results.effects.effects import Effects, effects
from results.figures.figure import Evidence, Figure
from results.figures.style import BLUE, GREY, styled, value_title
from results.stats.hypothesis_tests import CORRECTION_NAMES
from results.stats.numbers import level_percent, signed
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
    if not found.level_means:
        return None
    frame = pd.DataFrame(_lines(table, found))
    level = level_percent(table.analysis.alpha)
    return Figure(
        name="main_effects",
        title="Main effects",
        caption=f"Mean of all {found.num_trials} trials at each level of each factor, adjusted so that every level of "
        f"the others weighs the same, with the {level} % interval that the residual standard deviation gives; the "
        "dashed line is the mean of all trials. Where factors interact, a mean over the others' levels hides it: see "
        f"the interactions. Notes: effect with its {level} % interval, for this test set and not adjusted for the "
        f"number of effects; p-values {_corrected(table)}. What the effects leave counts as noise, also "
        "interactions of three factors and more.",
        frame=frame,
        chart=styled(_chart(frame, table)),
        notes=_notes(table, found),
    )


def _corrected(table: AblationTable) -> str:
    name = CORRECTION_NAMES[table.analysis.correction]
    return name if table.analysis.correction == "none" else f"corrected for all effects ({name})"


def _lines(table: AblationTable, found: Effects) -> list[dict[str, object]]:
    metric = table.metric.name
    values = [r.metrics[metric] for row in table.rows if row.name not in found.left_out for r in row.records]
    of_factor = {effect.term[0]: effect for effect in found.effects if len(effect.term) == 1}
    return [
        {
            "factor": visible(factor),
            "level": visible(means[index].level),
            "order": place,
            "mean": means[index].mean,
            "low": means[index].low,
            "high": means[index].high,
            "trials": means[index].num_trials,
            "overall": fmean(values),
            "interval_level": 1 - table.analysis.alpha,
            "effect": of_factor[factor].estimate,
            "effect_low": of_factor[factor].low,
            "effect_high": of_factor[factor].high,
            "p": of_factor[factor].p,
            "p_corrected": of_factor[factor].p_corrected,
            "correction": CORRECTION_NAMES[table.analysis.correction],
        }
        for factor, means in found.level_means.items()
        for place, index in enumerate(_in_order(found.design.levels[factor]))
    ]


def _in_order(levels: tuple[str, ...]) -> list[int]:
    """Order of the levels: numbers by size, others as given, with the baseline's first."""
    try:
        return sorted(range(len(levels)), key=lambda index: float(levels[index]))
    except ValueError:
        return list(range(len(levels)))


def _notes(table: AblationTable, found: Effects) -> tuple[str, ...]:
    decimals = table.metric.decimals
    name = CORRECTION_NAMES[table.analysis.correction]
    notes = []
    for one in found.effects:
        numbers = f"p = {one.p_corrected:.2g} ({name}), {100 * one.share:.0f} % of the variance left by the others"
        if one.estimate is not None and one.low is not None and one.high is not None:
            low, high = signed(one.low, decimals), signed(one.high, decimals)
            numbers = f"{signed(one.estimate, decimals)} [{low}, {high}], {numbers}"
        notes.append(f"{one.name}: {numbers}.")
    if found.lack_of_fit is not None:
        left = found.lack_of_fit
        notes.append(
            "Lack of fit, what variants differ beyond these effects (interactions of three factors and more, terms not "
            f"estimated): F({left.df}, {left.noise_df}) = {left.f_value:.3g}, p = {left.p:.2g}. It counts as noise in "
            "the tests above."
        )
    lost = [factor for factor in found.design.levels if factor not in found.level_means]
    if lost:
        notes.append(f"Not estimated, because other terms have the same levels: {', '.join(lost)}.")
    if found.single_level:
        notes.append(
            f"Not estimated, because only one level has variants with all seeds: {', '.join(found.single_level)}."
        )
    if found.left_out:
        notes.append(f"Left out, because a seed is missing or the epochs differ: {', '.join(found.left_out)}.")
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
