"""Schema of the section `seeds`: how many, what they vary, and for a sequential design when one looks and which arms
then stop."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from search_space.parsing.type_guards import is_dict
from search_space.schema.attention import Spec
from search_space.schema.training.seeding import Levels, Seeding, Sources

__all__ = [
    "FEWEST_AT_A_LOOK",
    "MAX_SEEDS",
    "MOST_SEEDS_OF_LOOKS",
    "Futility",
    "SeedPlan",
    "Seeds",
    "Smallest",
    "seed_plan_of",
    "with_seeding",
]

MAX_SEEDS = 10_000
MOST_SEEDS_OF_LOOKS = 200
"""Each seed between the looks is one more integral."""
FEWEST_AT_A_LOOK = 3
_GROWTH = 1.5


class Smallest(Spec):
    """An effect in the unit of the metric."""

    smallest: float = Field(gt=0, description="smallest difference that is worth further seeds, in the metric's unit")


def _counted(value: Any) -> Any:
    # a count beyond the limit is not expanded, so that the error shows the value as written
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SEEDS:
        return tuple(range(value))
    return value


SeedValues = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=2**31)], ...],
    BeforeValidator(_counted, json_schema_input_type=int | tuple[int, ...]),
    Field(min_length=1, max_length=MAX_SEEDS),
]


def _futility_tag(value: Any) -> str:
    return "effect" if is_dict(value) or isinstance(value, Smallest) else "text"


Futility = Annotated[
    Annotated[str, Field(pattern=r"^(none|strong|(0*[1-9][0-9]*|[0-9]*\.[0-9]*[1-9][0-9]*) ?SD)$"), Tag("text")]
    | Annotated[Smallest, Tag("effect")],
    Discriminator(_futility_tag),
]
"""`1.5 SD`: an effect in standard deviations of the same-seed differences; `strong`: 1.5 SD with more zeal."""


class SeedPlan(Spec):
    """Seeds and what they vary, or seeds that are trained in rounds, with a look at the results after each; short forms
    are a count and a list."""

    values: SeedValues | None = Field(default=None, description="a count n (seeds 0 .. n-1), or a list")
    vary: Sources | None = Field(
        default=None,
        description="sources that a seed decides: `init`, `order`, `augmentation`, `dropout`, `split`; "
        "default: all but `split`",
    )
    crossed: Levels | None = Field(
        default=None,
        description="source -> number of its levels: the baseline is trained with every combination, for the share of "
        "each source in the variance",
    )
    max: int | None = Field(default=None, ge=1, le=MAX_SEEDS, description="seeds 0 .. max - 1, if no arm stops before")
    start: int | None = Field(default=None, ge=1, description="seeds of the first look; default: 3, or that of `looks`")
    looks: tuple[int, ...] = Field(
        default=(),
        max_length=MOST_SEEDS_OF_LOOKS,
        description="numbers of seeds at which one looks; default: from `start` on by half more each, to `max`",
    )
    stop: Literal["decided", "futile"] = Field(
        default="decided",
        description="arms that stop: `decided` (better, worse, equivalent) and futile ones, or only `futile` ones",
    )
    spending: Literal["obf", "pocock", "power"] = Field(
        default="obf",
        description="of the level over the looks: nearly all at the last (O'Brien-Fleming), evenly, or by the square "
        "of the share of the seeds",
    )
    futility: Futility | None = Field(
        default=None,
        description="effect that a stopped arm hardly has: `1.5 SD`, {smallest: 0.3} in the metric's unit, `strong`, "
        "`none`",
    )

    @property
    def numbers(self) -> tuple[int, ...]:
        """The seeds that are trained where no arm stops."""
        if self.crossed is not None:
            return tuple(range(self.seeding.num_combinations))
        if self.values is not None:
            return self.values
        return tuple(range(self.max or max(self.looks, default=1)))

    @property
    def seeding(self) -> Seeding:
        """What a seed decides."""
        return Seeding(**({} if self.vary is None else {"vary": self.vary}), crossed=self.crossed)

    @property
    def has_rounds(self) -> bool:
        """Whether arms may stop after a look."""
        return self.values is None and self.crossed is None

    @property
    def all_looks(self) -> tuple[int, ...]:
        """Numbers of seeds at the looks, those by default included."""
        if self.looks:
            return self.looks
        found = [self.start or FEWEST_AT_A_LOOK]
        while found[-1] < len(self.numbers):
            found.append(min(len(self.numbers), -int(-_GROWTH * found[-1] // 1)))
        return tuple(found)

    @property
    def effect(self) -> float | None:
        """Effect of `futility` in standard deviations of the differences; None where it has none of this kind."""
        text = self.futility if isinstance(self.futility, str) else ""
        number = re.match(r"([0-9.]+) ?SD", text)
        return float(number[1]) if number else 1.5 if text == "strong" else None


def _seeds_of(value: Any) -> Any:
    """The seeds of a written section; a mapping is validated here, so that its problems are located."""
    return SeedPlan.model_validate(value).numbers if is_dict(value) else _counted(value)


def seed_plan_of(value: Any, seeds: Sequence[int]) -> SeedPlan | None:
    """The plan that a written section has, where the seeds are still its own."""
    if not is_dict(value):
        return None
    found = SeedPlan.model_validate(value)
    return found if found.numbers == tuple(seeds) else None


def with_seeding(baseline: dict[str, Any], seeding: Seeding) -> dict[str, Any]:
    """A written baseline with what a seed decides."""
    train: Any = baseline.get("train")
    written = seeding.model_dump(exclude_unset=True, exclude_none=True)
    return {**baseline, "train": {**(train if is_dict(train) else {}), "seeding": written}}


Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=2**31)], ...],
    BeforeValidator(_seeds_of, json_schema_input_type=int | tuple[int, ...] | SeedPlan),
    Field(min_length=1, max_length=MAX_SEEDS),
]
