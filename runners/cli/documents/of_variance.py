"""Document of the verb that shows what makes seeds differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from results.stats.variance_components import Component
from results.views.variance import ArmGain, RunVariance
from runners.cli.documents.document import Document, Part

__all__ = ["VarianceDocument", "variance_document"]


class ComponentEntry(Part):
    sources: list[str] = Field(description="sources of the effect; several: what they do together only")
    variance: float = Field(description="unbiased estimate, and so perhaps below 0")
    low: float = Field(description="interval of the variance, lower end")
    high: float = Field(description="its upper end")
    share: float | None = Field(description="of the sum of the variances above 0; null where there is none")
    share_low: float | None = Field(description="interval of the share, lower end")
    share_high: float | None = Field(description="its upper end")


class SpreadEntry(Part):
    num: int = Field(description="seeds")
    mean: float = Field(description="mean over them")
    variance: float = Field(description="variance over them (n - 1)")
    low: float = Field(description="its chi-squared interval, lower end")
    high: float = Field(description="upper end")


class GainEntry(Part):
    variant: str = Field(description="the arm")
    num_pairs: int = Field(description="seeds that it and the baseline have")
    variance_arm: float | None = Field(description="over these seeds; null with fewer than three, as all that follow")
    variance_baseline: float | None = Field(description="the same of the baseline")
    variance_difference: float | None = Field(description="the same of the differences at equal seeds")
    factor: float | None = Field(description="(arm + baseline) / difference; null where all differences are equal")
    factor_low: float | None = Field(description="its interval, lower end")
    factor_high: float | None = Field(description="upper end")
    effective_seeds: float | None = Field(description="different seeds that would compare as precisely: pairs x factor")


class RunVarianceEntry(Part):
    sweep: str = Field(description="name of the sweep")
    metric: str = Field(description="the metric")
    unit: str = Field(description="unit of its differences; may be empty")
    dataset: str = Field(description="the dataset; may be empty")
    decides: list[str] = Field(description="sources that a seed decides; empty where archsweep did not train")
    levels: dict[str, int] = Field(description="of a crossed design, source -> levels; else empty")
    num_missing: int = Field(description="combinations of the crossed design without a value")
    components: list[ComponentEntry] = Field(
        description="variance components of a complete crossed design; the last is the residual"
    )
    interactions: ComponentEntry | None = Field(description="all components but those of single sources, together")
    total: float | None = Field(description="sum of the variances above 0")
    baseline: SpreadEntry | None = Field(description="spread over independent seeds; null of a crossed design")
    arms: list[GainEntry] = Field(description="gain of comparing at equal seeds")
    level: float = Field(description="level of all intervals")


class VarianceDocument(Document):
    """`archsweep variance RUN... --json`: what makes seeds differ."""

    kind: Literal["archsweep.variance/1"] = Field(default="archsweep.variance/1", alias="schema")
    runs: list[RunVarianceEntry] = Field(description="the runs, in the order of the call")


def variance_document(found: Sequence[RunVariance]) -> VarianceDocument:
    """The document of several runs."""
    return VarianceDocument(runs=[_run(each) for each in found])


def _run(found: RunVariance) -> RunVarianceEntry:
    parts = found.components
    return RunVarianceEntry(
        sweep=found.name,
        metric=found.metric,
        unit=found.unit,
        dataset=found.dataset,
        decides=list(found.decides),
        levels=dict(found.levels),
        num_missing=found.num_missing,
        components=[_component(each) for each in parts.effects] if parts else [],
        interactions=_component(parts.interactions) if parts else None,
        total=parts.total if parts else None,
        baseline=SpreadEntry(**dataclasses.asdict(found.baseline)) if found.baseline else None,
        arms=[_gain(arm) for arm in found.arms],
        level=found.level,
    )


def _component(each: Component) -> ComponentEntry:
    return ComponentEntry(**{**dataclasses.asdict(each), "sources": list(each.sources)})


def _gain(arm: ArmGain) -> GainEntry:
    gain = arm.gain
    return GainEntry(
        variant=arm.name,
        num_pairs=arm.num_pairs,
        variance_arm=gain.variances[0] if gain else None,
        variance_baseline=gain.variances[1] if gain else None,
        variance_difference=gain.variance if gain else None,
        factor=gain.factor if gain else None,
        factor_low=gain.low if gain else None,
        factor_high=gain.high if gain else None,
        effective_seeds=gain.effective_seeds if gain else None,
    )
