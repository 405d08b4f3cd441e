"""Survey of a dataset whose images have a class each: what is on disk, compared with what is read.

Every image of both splits is decoded once, every label looked at once, and the two splits compared by content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from runners.data.dataset_info import DataInfo
from runners.data.images.plugin_datasets import open_splits
from runners.data.images.timm_datasets import open_for_survey
from runners.data.readers.labels import counts_of, label_faults
from runners.data.readers.place import problem
from runners.data.sources import SOURCES
from runners.data.survey.findings import as_text, duplicates_between, faults_of, notes_of
from runners.data.survey.result import SplitSurvey, Survey
from runners.data.survey.split_facts import SplitFacts, look_at
from search_space.schema.trial import TaskSpec

__all__ = ["look_at_images"]


def look_at_images(task: TaskSpec, resources: Any, *, say: Callable[[str], None], info: DataInfo) -> Survey:
    """The survey of a task's dataset with its faults; see `look_at_dataset`."""
    dataset: Any = task.dataset
    if dataset.name in SOURCES:  # made by archsweep, the splits from different images
        train = SplitSurvey("", info.num_train + info.num_val, info.train_counts, Counter())
        return Survey(dataset.name, info, train, SplitSurvey("", info.num_test, info.test_counts, Counter()))
    if dataset.kind == "plugin":
        train_split, test_split, notes = *open_splits(dataset, resources), ()
    else:
        train_split, test_split, notes = open_for_survey(dataset, resources)
    names = dataset.split_names
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
    class_names = tuple(as_text(name) for name in sorted(classes, key=classes.__getitem__)) or info.class_names
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
