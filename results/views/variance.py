"""Where the differences between seeds come from, and what comparing at equal seeds gains (`archsweep variance`).

Of a crossed design the share of every source in the variance; of any other run the variance of the baseline over its
seeds, and for every arm how many different seeds would compare as precisely as the equal ones do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import ValidationError

from results.layout.sentences.seed_sources import sources_as_text
from results.stats.variance_components import (
    Component,
    Components,
    Gain,
    Spread,
    crossed_components,
    gain_of_pairing,
    spread_of,
)
from results.store.run import Run
from results.table.build import ablation_table
from results.table.table import AblationTable, Row
from search_space.parsing.errors import Problem, SpecError
from search_space.parsing.visible import visible
from search_space.schema.training.seeding import BY_DEFAULT, SOURCE_NAMES, Seeding

__all__ = ["ArmGain", "RunVariance", "format_variance", "run_variance"]

_FEWEST_PAIRS = 3


@dataclass(frozen=True)
class ArmGain:
    """The gain of pairing of one arm; None with fewer than three pairs."""

    name: str
    num_pairs: int
    gain: Gain | None


@dataclass(frozen=True)
class RunVariance:
    """What the differences between the seeds of a run are of.

    Attributes:
        decides: sources that a seed decides; empty where archsweep did not train.
        levels: of a crossed design, by source; else empty.
        components: of a crossed design; None where combinations lack a value, or without one.
        num_missing: combinations without a value.
        baseline: spread of the baseline over independent seeds; None of a crossed design, or with fewer than two.
        level: of the intervals.
    """

    name: str
    metric: str
    unit: str
    dataset: str
    decides: tuple[str, ...]
    levels: Mapping[str, int]
    components: Components | None
    num_missing: int
    baseline: Spread | None
    arms: tuple[ArmGain, ...]
    level: float


def run_variance(run: Run) -> RunVariance:
    """The variance over the seeds of a run, and the gain of pairing of its arms.

    Raises:
        SpecError: its seeds are not comparable: of a search, or in blocks.
    """
    plan = run.plan
    if plan.design == "search" or plan.blocks is not None:
        what = "is a search, whose rows are not compared" if plan.design == "search" else "has blocks"
        hint = "the differences between seeds are those of a design without blocks, at one setting"
        raise SpecError(Problem(what, where=str(run.path), hint=hint))
    table = ablation_table(plan, run.records)
    level, sources = 1 - plan.analysis.alpha, plan.seed_sources
    baseline = {} if table.baseline is None else table.baseline.values(table.metric.name)
    components, missing, levels = None, 0, dict(sources.crossed) if sources else {}
    if levels:
        known = _crossed_of(run, levels)
        values = np.full(tuple(levels.values()), math.nan)
        for seed, value in baseline.items():
            values[tuple(known.levels_of(seed).values())] = value
        missing = int(np.isnan(values).sum())
        components = None if missing else crossed_components(values, tuple(levels), level=level)
    spread = spread_of(list(baseline.values()), level=level) if len(baseline) > 1 and not levels else None
    ours = plan.imported is None and not plan.own_training
    return RunVariance(
        name=plan.sweep,
        metric=table.metric.name,
        unit="points" if table.metric.unit == "%" else table.metric.unit,
        dataset=plan.dataset,
        decides=tuple(sources.vary if sources else BY_DEFAULT) if ours else (),
        levels=levels,
        components=components,
        num_missing=missing,
        baseline=spread,
        arms=tuple(_arm(row, table, baseline, level) for row in table.rows if not row.is_baseline),
        level=level,
    )


def format_variance(found: Sequence[RunVariance]) -> str:
    """Text for a terminal: one part a run, and of several with one source each their spreads side by side."""
    parts = ["\n".join(_lines(each)) for each in found]
    alone = [each for each in found if each.baseline is not None]
    if len(alone) > 1:
        parts.append("\n".join(_side_by_side(alone)))
    return "\n\n".join(parts)


def _crossed_of(run: Run, levels: Mapping[str, int]) -> Seeding:
    """The crossed design of a stored plan, which may be damaged or of another version."""
    try:
        return Seeding.model_validate({"crossed": levels})
    except ValidationError as err:
        text = f"says that seeds cross {dict(levels)}, which is no crossed design that this archsweep knows"
        raise SpecError(Problem(text, where=str(run.files.plan), hint="run the sweep again")) from err


def _arm(row: Row, table: AblationTable, baseline: Mapping[int, float], level: float) -> ArmGain:
    own = row.values(table.metric.name)
    common = [seed for seed in own if seed in baseline]
    pairs = [[values[seed] for seed in common] for values in (own, baseline)]
    return ArmGain(
        row.name, len(common), gain_of_pairing(*pairs, level=level) if len(common) >= _FEWEST_PAIRS else None
    )


def _lines(found: RunVariance) -> Iterator[str]:
    unit = f" ({found.unit})" if found.unit else ""
    yield f"{visible(found.name)}: {found.metric}{unit}" + (f" on {visible(found.dataset)}" if found.dataset else "")
    if found.levels:
        yield from _crossed(found)
    else:
        yield (
            f"  a seed decides {sources_as_text(found.decides)}"
            if found.decides
            else "  what a seed decides is not known"
        )
        if found.baseline is None:
            yield "  the baseline has fewer than two seeds, so no spread is known"
        else:
            yield f"  baseline over {found.baseline.num} seeds: {_spread(found.baseline, found.level)}"
    if found.arms:
        yield from _gains(found)


def _crossed(found: RunVariance) -> Iterator[str]:
    number = math.prod(found.levels.values())
    design = " x ".join(f"{levels} of {SOURCE_NAMES.get(name, name)}" for name, levels in found.levels.items())
    yield f"  crossed design of the baseline: {design} = {number} trainings"
    if found.components is None:
        yield f"  {found.num_missing} of them have no value yet: shares need all combinations"
        return
    parts = found.components
    rows = [_component(SOURCE_NAMES.get(each.sources[0], each.sources[0]), each) for each in parts.sources]
    rows.append(_component("together only", parts.interactions))
    percent = f"{100 * found.level:g} %"
    yield from _aligned([("source", "share", percent, "SD", percent), *rows])
    yield f"  one training with all of them at random: SD {math.sqrt(parts.total):.3g}"
    if any(each.variance < 0 for each in parts.effects):
        yield "  estimates below 0 are shown as 0: what they are of is hardly there"


def _component(name: str, each: Component) -> tuple[str, ...]:
    share = "" if each.share is None else f"{100 * each.share:.0f} %"
    ends = (each.share_low, each.share_high)
    of_share = "" if None in ends else " to ".join(f"{100 * (end or 0):.0f}" for end in ends) + " %"
    of_sd = f"{math.sqrt(each.low):.3g} to {math.sqrt(each.high):.3g}"
    return name, share, of_share, f"{math.sqrt(max(each.variance, 0)):.3g}", of_sd


def _gains(found: RunVariance) -> Iterator[str]:
    yield "  at equal seeds, SD of the differences, and as many different seeds as would compare as precisely:"
    percent = f"{100 * found.level:g} %"
    head = ("arm", "pairs", "SD arm", "SD baseline", "SD differences", "different seeds", percent)
    rows: list[tuple[str, ...]] = [head]
    for arm in found.arms:
        gain = arm.gain
        if gain is None:
            rows.append((visible(arm.name), str(arm.num_pairs), *[""] * 5))
            continue
        spreads = [f"{math.sqrt(each):.3g}" for each in (*gain.variances, gain.variance)]
        seeds, low, high = gain.effective_seeds, gain.low, gain.high
        if seeds is None or low is None or high is None:
            last = ("differences are all equal", "")
        else:
            last = (f"{seeds:.1f}", f"{low * gain.num:.1f} to {high * gain.num:.1f}")
        rows.append((visible(arm.name), str(gain.num), *spreads, *last))
    yield from _aligned(rows)


def _side_by_side(found: Sequence[RunVariance]) -> Iterator[str]:
    yield "baselines:"
    measured = [" ".join(filter(None, (each.metric, visible(each.dataset)))) for each in found]
    is_one_metric, is_one_level = (len(set(values)) == 1 for values in (measured, [each.level for each in found]))
    head = f"{100 * found[0].level:g} %" if is_one_level else "interval"
    rows = [("run", *([] if is_one_metric else ["metric"]), "a seed decides", "seeds", "SD", head)]
    for each, metric in zip(found, measured, strict=True):
        spread = each.baseline
        assert spread is not None, "of those that have one"
        level = "" if is_one_level else f"{100 * each.level:g} %: "
        ends = f"{level}{math.sqrt(spread.low):.3g} to {math.sqrt(spread.high):.3g}"
        name, decides = visible(each.name), ", ".join(each.decides) or "?"
        of = [] if is_one_metric else [metric]
        rows.append((name, *of, decides, str(spread.num), f"{math.sqrt(spread.variance):.3g}", ends))
    yield from _aligned(rows)


def _spread(spread: Spread, level: float) -> str:
    sd, low, high = (math.sqrt(each) for each in (spread.variance, spread.low, spread.high))
    return f"mean {spread.mean:.4g}, SD {sd:.3g} ({100 * level:g} %: {low:.3g} to {high:.3g})"


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for first, *rest in rows:
        cells = [first.ljust(widths[0]), *(text.rjust(width) for text, width in zip(rest, widths[1:], strict=True))]
        yield "  " + "  ".join(cells).rstrip()
