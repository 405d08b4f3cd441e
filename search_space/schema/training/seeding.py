"""What the seed of a trial decides: its sources of randomness, and which of them differ between seeds.

A source has a random stream of its own, so that one can vary while the others stay as they are. A part of `train`,
because it is part of a trial's identity: the same seed is another training where it decides something else. It is
written under `seeds`, which is where a reader looks for it, and laid over the baseline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from search_space.schema.attention import Spec

__all__ = ["BY_DEFAULT", "SOURCES", "SOURCE_NAMES", "Levels", "Seeding", "Source", "Sources"]

Source = Literal["init", "order", "augmentation", "dropout", "split"]
SOURCES: tuple[Source, ...] = get_args(Source)
BY_DEFAULT: tuple[Source, ...] = ("init", "order", "augmentation", "dropout")
"""All but the splits of the data."""

SOURCE_NAMES: Mapping[str, str] = {
    "init": "initialisation",
    "order": "order of the data",
    "augmentation": "augmentation",
    "dropout": "dropout",
    "split": "the data split",
}
"""Source -> its name for readers; by text, as plans of runs have it."""

MOST_LEVELS = 100
MOST_COMBINATIONS = 10_000
"""As many as there may be seeds."""


def _in_order(value: tuple[Source, ...]) -> tuple[Source, ...]:
    if len(set(value)) < len(value):
        raise ValueError("names a source twice")
    return tuple(source for source in SOURCES if source in value)


def _levels_in_order(value: dict[Source, int]) -> dict[Source, int]:
    if (number := math.prod(value.values())) > MOST_COMBINATIONS:
        raise ValueError(f"must have at most {MOST_COMBINATIONS} combinations, but has {number}")
    return {source: value[source] for source in SOURCES if source in value}


Sources = Annotated[tuple[Source, ...], Field(min_length=1, max_length=len(SOURCES)), AfterValidator(_in_order)]
Levels = Annotated[
    dict[Source, Annotated[int, Field(ge=2, le=MOST_LEVELS)]],
    Field(min_length=2, max_length=len(SOURCES)),
    AfterValidator(_levels_in_order),
]


class Seeding(Spec):
    """What a seed decides: it varies some sources, or it is the number of a combination of their levels."""

    vary: Sources = Field(
        default=BY_DEFAULT, description="sources that differ between seeds; the others are those of seed 0"
    )
    crossed: Levels | None = Field(
        default=None,
        description="source -> number of its levels: seeds count through all combinations, the last source fastest",
    )

    @property
    def varied(self) -> tuple[Source, ...]:
        """Sources that differ between seeds."""
        return self.vary if self.crossed is None else tuple(self.crossed)

    @property
    def num_combinations(self) -> int:
        """Combinations of a crossed design; 1 without one."""
        return math.prod((self.crossed or {}).values())

    def of_source(self, source: Source, seed: int) -> int:
        """The seed whose stream the source has in the trial with this `seed`: its own, that of its level, or 0.

        >>> Seeding(vary=("init",)).of_source("order", 7)
        0
        >>> [Seeding(crossed={"init": 2, "order": 3}).of_source("order", seed) for seed in range(6)]
        [0, 1, 2, 0, 1, 2]
        """
        if self.crossed is None:
            return seed if source in self.vary else 0
        rest = seed
        for name in reversed(self.crossed):
            rest, level = divmod(rest, self.crossed[name])
            if name == source:
                return level
        return 0

    def levels_of(self, seed: int) -> dict[Source, int]:
        """Level of every crossed source in the trial with this `seed`."""
        return {source: self.of_source(source, seed) for source in self.crossed or {}}
