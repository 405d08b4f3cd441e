"""Schema of the sweep file: an immutable `Sweep` and its sections (fields are described in docs/sweep_format.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, ValidatorFunctionWrapHandler, model_validator

from search_space.parsing.type_guards import is_dict
from search_space.schema.attention import Spec
from search_space.schema.comparison.match_retune import Match, Retune
from search_space.schema.comparison.seeds import SeedPlan, Seeds, seed_plan_of, with_seeding
from search_space.schema.design import AnyDesign, Design
from search_space.schema.parameters import ALL_FOLDS, MAX_VALUES, Blocks, Choice, Component, Parameter, Range
from search_space.schema.resources import Resources
from search_space.schema.task import ForeignSpec
from search_space.schema.tracking import Track
from search_space.schema.training.seeding import Seeding
from search_space.schema.trial import Setting

__all__ = [
    "NAME_PATTERN",
    "NULLABLE_SECTIONS",
    "Analysis",
    "Checkpoints",
    "Prune",
    "Published",
    "Search",
    "Sweep",
    "TableFormat",
]

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class Prune(Spec):
    """Early stopping of unpromising trials. Keys besides `pruner` and `over` are options of the Optuna pruner."""

    model_config = ConfigDict(extra="allow")

    pruner: str = Field(min_length=1, description="an Optuna pruner: `median`, `hyperband`, `successive_halving`, ...")
    over: Literal["epochs", "seeds"] | None = Field(
        default=None,
        description="`epochs`: compare trials by their curves; `seeds`: compare variants by their finished seeds, with "
        "others at the same seeds; default: `epochs`, but `seeds` for `wilcoxon`",
    )

    @property
    def is_over_seeds(self) -> bool:
        return self.is_paired_test if self.over is None else self.over == "seeds"

    @property
    def is_paired_test(self) -> bool:
        """Whether the pruner compares paired seeds instead of means."""
        return self.pruner.lower().removesuffix("pruner") == "wilcoxon"

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Search(Spec):
    """Sampler and budget of `design: search`. Undeclared keys are options of the Optuna sampler."""

    model_config = ConfigDict(extra="allow")

    sampler: str = Field(
        default="tpe", min_length=1, description="an Optuna sampler: `tpe`, `random`, `gp`, `cmaes`, ..."
    )
    num_trials: int = Field(
        ge=1,
        le=1_000_000,
        description="number of suggestions that are trained, each with every seed; those before a resume included",
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of the sampler, not of the trials")
    objectives: tuple[str, ...] = Field(
        default=(),
        description="several, for a Pareto front: `metric`, other metrics of the task, params_m, gmacs",
    )
    warm_start: tuple[str, ...] = Field(
        default=(), description="run directories whose completed trials are added to the study before its first trial"
    )

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Checkpoints(Spec):
    """Checkpoints of a running trial and the weights kept of a completed one. Not part of its identity."""

    keep: Literal["none", "last", "best"] = Field(
        default="none",
        description="weights kept of a completed trial: none, those of the last epoch, or those of the epoch with the "
        "best validation metric (test metric without a validation split)",
    )
    every_epochs: int = Field(
        default=1, ge=0, description="epochs between checkpoints; 0: only when the run receives a signal to stop"
    )
    min_seconds: float = Field(default=60.0, ge=0, description="minimum time between checkpoints")
    grace_seconds: float = Field(
        default=30.0, ge=0, description="time for running trials to save a checkpoint after a signal to stop"
    )


class Analysis(Spec):
    """Statistical comparison of variants with the baseline: fixed before the run and stated in the caption."""

    correction: Literal["holm", "bh", "dunnett", "none"] = Field(
        default="holm", description="correction of the p-values for comparing several variants with one baseline"
    )
    alpha: float = Field(
        default=0.05, gt=0, lt=1, description="significance level of the tests; intervals have the level 1 - alpha"
    )
    margin: float | None = Field(
        default=None, gt=0, description="equivalence margin in the metric's unit; allows the verdict `equivalent`"
    )
    selection: Literal["last", "best-val", "ema"] = Field(
        default="last", description="weights that represent a trial: last epoch, best validation epoch, or averaged"
    )
    interval: Literal["unadjusted", "simultaneous"] = Field(
        default="unadjusted",
        description="intervals of the differences: each by itself, or wide enough to hold for all variants at once",
    )
    sequential: Literal["anytime"] | None = Field(
        default=None,
        description="`anytime`: tests and intervals that hold at any number of seeds, whatever made one stop; for the "
        "same power they need more seeds",
    )


def _for_every_metric(value: Any) -> Any:
    return {"*": value} if isinstance(value, int) and not isinstance(value, bool) else value


class TableFormat(Spec):
    """Columns, order and texts of the run's table. Not part of a trial's identity."""

    columns: tuple[str, ...] = Field(
        default=(), max_length=200, description="columns by name, in this order; default: those with a content"
    )
    rename: dict[str, Annotated[str, Field(max_length=120)]] = Field(
        default_factory=dict, description="column -> its name in the table"
    )
    digits: Annotated[
        dict[str, int], BeforeValidator(_for_every_metric, json_schema_input_type=int | dict[str, int])
    ] = Field(default_factory=dict, description="decimals of every metric, or metric (`*`: every one) -> decimals")
    sort: str | None = Field(
        default=None, min_length=1, description="`COLUMN`, `COLUMN:asc` or `COLUMN:desc`; the baseline stays first"
    )
    label: str | None = Field(default=None, max_length=120, description="LaTeX's label, such as `tab:attention`")
    caption: str | None = Field(
        default=None, min_length=1, max_length=2000, description="replaces the name of the sweep as the title"
    )
    transpose: bool = Field(default=False, description="a column for every variant, for tables of few rows")


FEWEST_OF_AN_ORDER = 3
"""Rows of one source whose order is compared: two have one pair, whose order is their difference."""


class Published(Spec):
    """Published numbers of a paper, shown beside the measured ones: metrics as further keys."""

    model_config = ConfigDict(extra="allow")

    when: dict[str, Any] = Field(description="the variant they belong to: path -> value")
    source: str = Field(min_length=1, description="paper, table and setting; rows of equal text have an order")
    compare: Literal["value", "order"] = Field(
        default="value",
        description="`order`: of another setting than the sweep's, so only the order of the rows is compared",
    )

    @property
    def values(self) -> dict[str, float]:
        return {name: float(value) for name, value in (self.model_extra or {}).items()}


NULLABLE_SECTIONS = ("blocks", "plugins", "profiles", "published", "require", "space", "table")
"""Sections that may be written as `null`, for nothing; further ones have a `null` of their own type."""


def _with_all_folds(data: Any) -> Any:
    """The written sweep with `all` of its blocks as the numbers of the folds; unchanged where there are none."""
    if not is_dict(data) or not is_dict(blocks := data.get("blocks")) or ALL_FOLDS not in blocks.values():
        return data
    here: Any = data.get("baseline")
    for key in ("task", "dataset", "folds"):
        here = here.get(key) if is_dict(here) else None
    if isinstance(here, bool) or not isinstance(here, int) or here < 2:
        return data
    whole = {path: tuple(range(here)) if _is_all_folds(path, value) else value for path, value in blocks.items()}
    return {**data, "blocks": whole}


def _without_empty_sections(data: Any) -> Any:
    """The written sweep without the sections that are `null`, which is how a section of comments only is read."""
    if not is_dict(data):
        return data
    return {key: value for key, value in data.items() if value is not None or key not in NULLABLE_SECTIONS}


def _is_all_folds(path: str, value: Any) -> bool:
    return value == ALL_FOLDS and path == "task.dataset.fold"


class Sweep(Spec):
    """Sweep: one experimental question, with its baseline, search space and design."""

    name: str = Field(
        pattern=NAME_PATTERN,
        max_length=100,
        description="letters, digits, `-`, `_` and `.`; names the folder of the run",
    )
    description: str = Field(default="", description="free text for the table's caption")
    plugins: tuple[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")], ...] = Field(
        default=(),
        max_length=100,
        description="plug-ins that the sweep needs: installed ones, or files that the caller allows by `--plugin`",
    )
    baseline: Setting = Field(description="a trial without its seed, the reference of all differences")
    space: dict[str, Parameter] = Field(
        default_factory=dict, max_length=1000, description="path into the baseline (or a component's name) -> values"
    )
    design: Annotated[Design, AnyDesign()] = Field(description="how parameters become variants")
    blocks: dict[str, Blocks] = Field(
        default_factory=dict,
        max_length=100,
        description="path -> values, each a block in which the baseline and every variant are trained with every seed; "
        "`all`: every fold of a dataset",
    )
    seeds: Seeds = Field(
        default=(0,),
        description="a count n (seeds 0 .. n-1), a list, {values, vary}, or {max, looks, futility}; for every variant",
    )
    metric: str = Field(
        default="top1", description="metric of the table and objective of a search; default: the task's first"
    )
    require: tuple[str, ...] = Field(
        default=(), max_length=1000, description="conditions that a variant must meet to be trained"
    )
    prune: Prune | None = Field(default=None, description="early stopping of unpromising trials")
    search: Search | None = Field(default=None, description="only for `design: search`")
    match: Match | None = Field(default=None, description="variants of equal cost")
    retune: Retune | None = Field(default=None, description="every variant at its own optimum of training parameters")
    analysis: Analysis = Analysis()
    resources: Resources = Resources()
    checkpoints: Checkpoints = Checkpoints()
    keep_predictions: bool = Field(
        default=False,
        description="records hold which test images were right at top-1, for the sampling error of differences",
    )
    keep_samples: int = Field(
        default=0,
        ge=0,
        le=64,
        description="test images, evenly spread over the test split, whose predictions every completed trial keeps for "
        "the pictures of the report, trials/<id>/samples.npz",
    )
    table: TableFormat = Field(default=TableFormat(), description="columns and layout of the table")
    track: Track = Field(
        default=(), description="experiment trackers of the run: `tensorboard`, `mlflow`, `wandb`, `optuna`"
    )
    published: tuple[Published, ...] = Field(
        default=(), max_length=MAX_VALUES, description="published numbers, shown beside the measured ones"
    )
    profiles: dict[Annotated[str, Field(pattern=NAME_PATTERN, max_length=100)], dict[str, Any]] = Field(
        default_factory=dict,
        description="named overrides, applied by `--profile NAME`: path -> value; NAME becomes part of the folder",
    )

    _written: dict[str, Any] | None = PrivateAttr(default=None)
    _written_seeds: Any = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_what_was_written(cls, data: Any, handler: ValidatorFunctionWrapHandler) -> Sweep:
        sweep = handler(_with_all_folds(_without_empty_sections(data)))
        if "metric" not in sweep.model_fields_set:
            sweep = sweep.model_copy(update={"metric": sweep.baseline.task.measured[0]})
        if is_dict(data) and is_dict(data.get("baseline")):
            sweep._written = data["baseline"]
        if is_dict(data):
            sweep._written_seeds = data.get("seeds")
        return sweep._with_seeding()

    def _with_seeding(self) -> Sweep:
        """With what its seeds decide in the baseline, over which every variant is laid."""
        plan = self.seed_plan
        is_usual = plan is None or plan.seeding == Seeding() or "seeding" in self.baseline.train.model_fields_set
        if plan is None or is_usual or isinstance(self.baseline.task, ForeignSpec):
            return self
        train = self.baseline.train.model_copy(update={"seeding": plan.seeding})
        sweep = self.model_copy(update={"baseline": self.baseline.model_copy(update={"train": train})})
        sweep._written = with_seeding(self._written or {}, plan.seeding)
        return sweep

    @property
    def written_baseline(self) -> dict[str, Any]:
        """Baseline as written in the file. Values are applied to it instead of the validated baseline, because defaults
        depend on explicit values (`class_token: false` implies `global_pool: avg`)."""
        return self.baseline.model_dump() if self._written is None else self._written

    @property
    def seed_plan(self) -> SeedPlan | None:
        """The section `seeds` where it says more than which ones; None for every other list of seeds that this sweep is
        copied with."""
        return seed_plan_of(self._written_seeds, self.seeds)

    @property
    def rounds(self) -> SeedPlan | None:
        """How seeds are trained in rounds; None where all are trained in any case."""
        plan = self.seed_plan
        return plan if plan is not None and plan.has_rounds else None

    @property
    def asks_by_results(self) -> bool:
        """Whether the results so far decide which trials of a fixed design are trained: rounds of seeds, or a path."""
        return self.rounds is not None or self.design.name == "path"

    @property
    def num_search_trials(self) -> int:
        """Number of trials of a search, each suggestion with every seed; 0 without a search."""
        return self.search.num_trials * len(self.seeds) if self.search else 0

    def parameter_choices(self, path: str) -> tuple[Choice, ...]:
        """Choices of a parameter; those of a component are off and on. Ranges have none."""
        parameter = self.space[path]
        if isinstance(parameter, Component):
            return (Choice(value=parameter.off, name="off"), Choice(value=parameter.on, name="on"))
        assert not isinstance(parameter, Range), "only a search has ranges"
        return parameter
