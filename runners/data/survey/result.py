"""Result of a survey: what the splits of a dataset hold, and what a reader of its numbers must know."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from runners.data.dataset_info import DataInfo
from runners.data.survey.findings import Duplicates
from search_space.parsing.errors import Problem

__all__ = ["SplitSurvey", "Survey"]


@dataclass(frozen=True)
class SplitSurvey:
    """What a split holds.

    Attributes:
        name: as the dataset calls it; empty for images that archsweep makes itself.
        images: of a training split before a validation split is held out of it.
        counts: images of every class; empty where the labels of a stream were not looked at.
        sizes: (height, width) -> number of images; empty where they were not looked at.
    """

    name: str
    images: int
    counts: tuple[int, ...]
    sizes: Counter[tuple[int, int]]

    @property
    def classes(self) -> int:
        """Number of classes that have an image."""
        return sum(count > 0 for count in self.counts)

    @property
    def majority(self) -> float | None:
        """Share of the most frequent class: what a constant answer reaches on a test split."""
        return max(self.counts) / sum(self.counts) if sum(self.counts) else None


@dataclass(frozen=True)
class Survey:
    """What a dataset holds, and what a reader of its numbers must know (`notes`).

    `name`: of the dataset, with its splits where it has names for them. `faults`: why it is refused.
    `unit`: what the splits hold.
    """

    name: str
    info: DataInfo
    train: SplitSurvey
    test: SplitSurvey
    class_names: tuple[str, ...] = ()
    duplicates: Duplicates | None = None
    notes: tuple[str, ...] = ()
    faults: tuple[Problem, ...] = ()
    unit: Literal["images", "texts"] = "images"
