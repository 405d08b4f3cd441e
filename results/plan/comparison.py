"""How variants are compared and shown, as the plan of a run states it: analysis, published numbers, table, changes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from results.plan.stored import Stored

__all__ = ["Analysis", "Decision", "PathSeeds", "PublishedRow", "Rounds", "SeedSources", "TableFormat"]


class Analysis(Stored):
    """The comparison of variants with the baseline; chosen before the run, stated in the caption."""

    correction: Literal["holm", "bh", "dunnett", "none"] = "holm"
    alpha: float = Field(default=0.05, gt=0, lt=1)
    margin: float | None = Field(
        default=None, gt=0, description="smallest difference that matters, in the metric's unit"
    )
    selection: Literal["last", "best-val", "ema"] = Field(default="last", description="which weights are measured")
    interval: Literal["unadjusted", "simultaneous"] = Field(
        default="unadjusted", description="intervals of each difference by itself, or of all of a study together"
    )
    sequential: Literal["anytime"] | None = Field(
        default=None,
        # Not written where it is none: plans without it are as they always were.
        exclude_if=lambda kind: kind is None,
        description="`anytime`: tests that hold at any number of seeds",
    )


class Decision(Stored):
    """A decision about the comparison that was made, or changed, after results were seen."""

    what: str = Field(description="`seeds`, `metric`, `analysis.alpha`, ..., or `variant NAME`")
    before: Any = Field(description="as planned before the first result; None where it was not known")
    after: Any = Field(description="as it is now; None for a variant that was removed")
    num_results: int = Field(ge=0, description="completed trials of the comparison when it was changed")


class PublishedRow(Stored):
    """Published numbers of a paper, shown beside the measured ones, or compared by their order."""

    when: dict[str, Any] = Field(description="the row they belong to: path -> value")
    values: dict[str, float]
    source: str
    compare: Literal["value", "order"] = Field(
        default="value",
        # Not written where it is the value: plans with such rows are as they always were.
        exclude_if=lambda how: how == "value",
        description="`order`: of another setting, so that only the order of the rows is compared",
    )


class Rounds(Stored):
    """Seeds that are trained in rounds: which arms get further ones is decided by the results at each look."""

    looks: list[int] = Field(min_length=1, description="numbers of seeds at which one looks, rising")
    spending: Literal["obf", "pocock", "power"] = Field(default="obf", description="of the level over the looks")
    stop: Literal["decided", "futile"] = Field(default="decided", description="which arms get no further seeds")
    effect: float | None = Field(default=None, description="of futile arms, in SD of the differences")
    smallest: float | None = Field(default=None, description="the same in the metric's unit; both None: none is futile")
    is_strong: bool = Field(default=False, description="whether futile arms stop with more zeal")


class PathSeeds(Stored):
    """Which seeds of a `path` choose its steps; the others judge them, and are those of the table."""

    choosing: list[int] = Field(min_length=1)
    compare: bool = Field(default=True, description="whether each component alone, and all but each, are judged, too")


class SeedSources(Stored):
    """What a seed decides, where it is not the default."""

    vary: list[str] = Field(description="sources that differ between seeds; the others are the same for all")
    crossed: dict[str, int] = Field(
        default_factory=dict, description="source -> number of its levels, where seeds count through all combinations"
    )
    splits: list[Literal["validation", "test"]] = Field(
        default_factory=list, description="splits of the data that are each seed's own"
    )


class TableFormat(Stored):
    """Columns, order and texts of a table for readers; `search_space/settings/table_columns.py` has the names."""

    columns: tuple[str, ...] = ()
    rename: dict[str, str] = Field(default_factory=dict)
    digits: dict[str, int] = Field(default_factory=dict, description="metric (`*`: every one), delta or cost")
    sort: str | None = None
    label: str | None = None
    caption: str | None = None
    transpose: bool = False
