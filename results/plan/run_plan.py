"""Plan of a run, as `plan.json` holds it: the variants to train, in table order, and how they are compared.

It is written at every start of the driver, and replaces that of the start before; what it says of decisions that were
made after results were seen is carried along.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from results.plan.comparison import Analysis, Decision, PathSeeds, PublishedRow, Rounds, SeedSources, TableFormat
from results.plan.datasets import DataSummary, Imported, Measured
from results.plan.stored import Amount, Numerics, Origin, Preregistered, Stored
from search_space.schema.metrics import Metric, define_metrics

__all__ = ["BlockedDesign", "PlannedVariant", "Retuned", "RunPlan"]


class PlannedVariant(Stored):
    """One row of the plan."""

    name: str
    variant_id: str
    changes: dict[str, Any] = Field(default_factory=dict)
    components: dict[str, bool] = Field(default_factory=dict, description="component -> on, for component designs")
    is_baseline: bool = False
    params_m: Amount | None = None
    gmacs: Amount | None = None
    dropped: str = Field(default="", description="why it is not run; empty if it is")
    added_after: int = Field(
        default=0, ge=0, description="completed trials of the comparison when it was added; 0: planned before them"
    )
    num_tried: int | None = Field(default=None, description="different settings that `retune` tried for it")
    untuned_id: str = Field(
        default="", exclude_if=lambda text: not text, description="id of its own setting, before `retune` changed it"
    )
    study: str = Field(
        default="", description="the study it belongs to, where a sweep holds several; the baseline is shared"
    )
    numerics: Numerics = "single"
    # Not written where they are empty: plans without blocks are as they always were.
    block: str = Field(default="", exclude_if=lambda text: not text, description="of the design; `name` ends with it")
    treatment: str = Field(
        default="", exclude_if=lambda text: not text, description="id in the first block: of one row"
    )
    placebo_of: str = Field(
        default="", exclude_if=lambda text: not text, description="component of which it has the placebo"
    )


class BlockedDesign(Stored):
    """The blocks of a design, each of which has every variant at every seed."""

    path: str = Field(description="what differs between them: a path of the settings")
    names: list[str] = Field(min_length=2, description="of the blocks, in their order")
    kind: Literal["folds", "splits", "datasets", "settings"] = Field(
        description="`folds` or random `splits` of one dataset; `datasets` of different names; any other `settings`"
    )
    num_folds: int | None = Field(default=None, description="folds that the dataset is divided into; None: no folds")
    train_images: list[int] = Field(default_factory=list, description="of each fold or split")
    test_images: list[int] = Field(default_factory=list, description="the same")

    @property
    def is_resampled(self) -> bool:
        """Whether the blocks draw their splits from the images of one dataset."""
        return self.kind in ("folds", "splits")

    @property
    def test_per_train(self) -> float:
        """Images to test per image to train, over all blocks."""
        return sum(self.test_images) / max(1, sum(self.train_images))


class Retuned(Stored):
    """The tuning of every variant's own training parameters before the comparison."""

    parameters: list[str] = Field(description="paths below the setting")
    space: dict[str, str] = Field(default_factory=dict, description="path -> the values to try, as text")
    num_trials: int = Field(description="settings to try for every variant; equal ones are trained once")
    seeds: list[int] = Field(description="of the tuning trials; none of the reported ones")
    sampler: str


class RunPlan(Stored):
    """The plan of the driver's latest start in this run directory."""

    version: int = 1
    sweep: str
    profile: str = ""
    design: str
    metric: str
    seeds: list[int]
    variants: list[PlannedVariant] = Field(default_factory=list, description="in table order; empty for a search")
    num_trials: int | None = Field(default=None, description="budget of a search, or share of a shard, in trials")
    objectives: list[str] = Field(default_factory=list, description="of a search for a Pareto front, else empty")
    published: list[PublishedRow] = Field(default_factory=list)
    dataset: str = ""
    epochs: int | None = None
    steps: int | None = Field(default=None, description="updates of a training; None: its epochs go through the data")
    num_test_images: int | None = Field(default=None, description="of every variant; None: unknown, or not the same")
    analysis: Analysis = Analysis()
    decided_later: list[Decision] = Field(
        default_factory=list, description="what was planned before the first result and changed after it"
    )
    preregistered: Preregistered | None = Field(
        default=None, exclude_if=lambda found: found is None, description="None: it was not frozen before its results"
    )
    superseded: list[Origin] = Field(
        default_factory=list, description="origins whose records do not count: of data, code or software that changed"
    )
    rounds: Rounds | None = Field(
        default=None, exclude_if=lambda rounds: rounds is None, description="None: every arm has all seeds"
    )
    seed_sources: SeedSources | None = Field(
        default=None,
        exclude_if=lambda sources: sources is None,
        description="None: a seed decides all but the splits of the data",
    )
    retuned: Retuned | None = None
    blocks: BlockedDesign | None = Field(default=None, exclude_if=lambda blocks: blocks is None)
    orders: list[list[str]] = Field(
        default_factory=list,
        exclude_if=lambda orders: not orders,
        description="of `shapley`: the sampled orders of the components, each followed by its reverse; empty: exact",
    )
    path: PathSeeds | None = Field(default=None, exclude_if=lambda path: path is None, description="of `path`")
    table: TableFormat = Field(
        default=TableFormat(),
        # Not written where it is empty: plans of sweeps without the section are as they always were.
        exclude_if=lambda format_: format_ == TableFormat(),
        description="how the sweep wants its table shown",
    )
    data: list[DataSummary] = Field(default_factory=list, description="the datasets of the variants")
    measures: dict[str, Measured] = Field(
        default_factory=dict,
        exclude_if=lambda measures: not measures,
        description="metrics that archsweep does not know: of a training of the user's own, or of plug-ins",
    )
    own_training: bool = Field(
        default=False, exclude_if=lambda own: not own, description="whether the user's own code trained"
    )
    forms: dict[str, Numerics] = Field(default_factory=dict, description="of trainings, by the name of their shape")
    imported: Imported | None = Field(
        default=None, exclude_if=lambda imported: imported is None, description="None: archsweep started the trials"
    )

    @model_validator(mode="after")
    def _define(self) -> RunPlan:
        define_metrics(
            Metric(name, each.unit, each.direction, each.decimals, each.meaning, (-math.inf, math.inf))
            for name, each in self.measures.items()
        )
        return self
