"""Survey of a dataset: what is on disk, compared with what is read, before anything trains.

Every image of both splits is decoded once, every label looked at once, and the two splits compared by content. What a
survey found is kept by content (`readers/image_facts.py`, `split_facts.py`), so that the next start of the same data
costs a look at the times of the files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from runners.data.dataset_info import DataInfo
from runners.data.loading import describe_dataset
from runners.data.readers.labels import counts_of, label_faults
from runners.data.readers.place import problem
from runners.data.sources import SOURCES
from runners.data.survey.findings import Duplicates, as_text, duplicates_between, faults_of, notes_of
from runners.data.survey.split_facts import SplitFacts, look_at
from runners.data.timm_datasets import open_for_survey
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.trial import TaskSpec

__all__ = ["SplitSurvey", "Survey", "look_at_dataset", "survey_dataset"]


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
    """

    name: str
    info: DataInfo
    train: SplitSurvey
    test: SplitSurvey
    class_names: tuple[str, ...] = ()
    duplicates: Duplicates | None = None
    notes: tuple[str, ...] = ()
    faults: tuple[Problem, ...] = ()


def survey_dataset(
    task: TaskSpec, resources: Any, *, say: Callable[[str], None] = lambda text: None, info: DataInfo | None = None
) -> Survey:
    """The survey of a task's dataset, which can be trained on.

    Args:
        say: called with a message before much is read.
        info: of the task, where it is known already.

    Raises:
        SpecError: the data is missing, cannot be read, or its numbers would not be what they say; all reasons at once.
    """
    found = look_at_dataset(task, resources, say=say, info=info)
    if found.faults:
        raise SpecError(found.faults)
    return found


def look_at_dataset(
    task: TaskSpec, resources: Any, *, say: Callable[[str], None] = lambda text: None, info: DataInfo | None = None
) -> Survey:
    """The survey of a task's dataset with its faults, for `survey_dataset` and for users who look for them.

    Raises:
        SpecError: the data is missing or cannot be opened at all.
    """
    info = describe_dataset(task, resources) if info is None else info
    dataset: Any = task.dataset
    if dataset.name in SOURCES:  # made by archsweep, the splits from different images
        train = SplitSurvey("", info.num_train + info.num_val, info.train_counts, Counter())
        return Survey(dataset.name, info, train, SplitSurvey("", info.num_test, info.test_counts, Counter()))
    train_split, test_split, notes = open_for_survey(dataset, resources)
    names = (dataset.train_split, dataset.test_split)
    title = f"{dataset.name} ({names[0]}, {names[1]})"
    train, test = (
        look_at(split, f"{dataset.name} {name}", say=say)
        for split, name in zip((train_split, test_split), names, strict=True)
    )
    if train is None or test is None:
        unseen = "read over a network: images, labels and duplicates were not looked at"
        unseen_train, unseen_test = (
            SplitSurvey(name, count, (), Counter())
            for name, count in zip(names, (info.num_train, info.num_test), strict=True)
        )
        return Survey(title, info, unseen_train, unseen_test, notes=(*notes, unseen))
    shared = duplicates_between(train, test)
    faults = list(faults_of(train, test, shared, names=names, num_classes=info.num_classes))
    seen_train, seen_test = (
        _survey(name, facts, info.num_classes) for name, facts in zip(names, (train, test), strict=True)
    )
    if not faults and seen_train.classes < 2:
        text = f"all images of the split {names[0]!r} have one class: every answer would be right"
        faults.append((text, "put the images of each class in a folder of its own"))
    classes = getattr(getattr(train_split, "reader", train_split), "class_to_idx", None) or {}
    all_notes = (
        *notes,
        *notes_of(train, test, shared, names=names),
        *_unused((seen_train, seen_test), info.num_classes),
    )
    class_names = tuple(as_text(name) for name in sorted(classes, key=classes.__getitem__))
    problems = tuple(problem(dataset, as_text(text), hint) for text, hint in faults)
    return Survey(title, info, seen_train, seen_test, class_names, shared, all_notes, problems)


def _survey(name: str, facts: SplitFacts, num_classes: int) -> SplitSurvey:
    labels = facts.labels
    if label_faults(labels, num_classes):  # said by `faults_of`
        labels = [label for label in labels if not label_faults([label], num_classes)]
    return SplitSurvey(name, len(facts.images), counts_of(np.asarray(labels, dtype=np.int64), num_classes), facts.sizes)


def _unused(found: tuple[SplitSurvey, SplitSurvey], num_classes: int) -> list[str]:
    return [
        f"split {split.name!r}: {num_classes - split.classes} of {num_classes} classes without an image"
        for split in found
        if split.classes < num_classes
    ]
