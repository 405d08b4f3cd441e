"""Survey of images with label maps: every file is decoded once, and every pixel of the label maps counted.

A drawn dataset is counted as it is drawn, up to 2,000 images of a split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from runners.data.dataset_info import DataInfo, Images
from runners.data.dense.label_facts import LabelSurvey, survey_label_maps
from runners.data.dense.label_maps import LabelMaps
from runners.data.dense.sources import load_folder, load_scenes
from runners.data.readers.image_facts import ImageFact
from runners.data.readers.place import problem
from runners.data.survey.findings import as_text, duplicates_between, faults_of, notes_of
from runners.data.survey.result import SplitSurvey, Survey
from runners.data.survey.split_facts import SplitFacts
from search_space.schema.task import SegmentationSpec, TaskSpec

__all__ = ["look_at_label_maps"]

_MOST_DRAWN = 2000


def look_at_label_maps(task: TaskSpec, resources: Any, *, say: Callable[[str], None], info: DataInfo) -> Survey:
    """The survey of a task's dataset with its faults; see `look_at_dataset`."""
    assert isinstance(task, SegmentationSpec)
    dataset: Any = task.dataset
    if dataset.num_built_in is not None:
        train, test = _drawn_counts(dataset, resources, info)
        num_train = info.num_train + info.num_val
        sizes = (Counter({info.img_size: number}) for number in (num_train, info.num_test))
        of_train, of_test = (
            SplitSurvey("", *each) for each in zip((num_train, info.num_test), (train, test), sizes, strict=True)
        )
        return Survey(dataset.name, info, of_train, of_test)
    opened = load_folder(dataset, resources, info, info.img_size, ignore_label=task.ignore_label)
    names = (dataset.train_split, dataset.test_split)
    train, test = (survey_label_maps(each, say=say) for each in opened)
    hint = "repair or remove them, or correct num_classes, ignore_label and reduce_zero_label"
    faults = [(text, hint) for each in (train, test) for text in each.faults]
    notes, shared = [*train.notes, *test.notes], None
    if not faults:
        ours, theirs = (_facts(each, split) for each, split in zip((train, test), opened, strict=True))
        shared = duplicates_between(ours, theirs)
        faults += faults_of(ours, theirs, shared, names=names, num_classes=1)
        notes += notes_of(ours, theirs, shared, names=names)
    of_train, of_test = (
        SplitSurvey(name, len(each.images), tuple(each.pixels.tolist()), _sizes(each.images))
        for name, each in zip(names, (train, test), strict=True)
    )
    return Survey(
        f"{dataset.name} ({names[0]}, {names[1]})",
        info,
        of_train,
        of_test,
        duplicates=shared,
        notes=tuple(map(as_text, notes)),
        faults=tuple(problem(dataset, as_text(text), hint) for text, hint in faults),
    )


def _drawn_counts(dataset: Any, resources: Any, info: DataInfo) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Pixels of every class in both splits; empty for many images."""
    if max(info.num_train + info.num_val, info.num_test) > _MOST_DRAWN:
        return (), ()
    train, test = load_scenes(dataset, resources, info, info.img_size)
    return _pixels(train, info), _pixels(test, info)


def _pixels(split: Images, info: DataInfo) -> tuple[int, ...]:
    return tuple(torch.bincount(split.labels.flatten().int(), minlength=info.num_classes).tolist())


def _sizes(images: Sequence[ImageFact]) -> Counter[tuple[int, int]]:
    return Counter((fact.height, fact.width) for fact in images if not fact.fault)


def _facts(found: LabelSurvey, split: LabelMaps) -> SplitFacts:
    """The images of a split, to be compared with those of the other one."""
    labels = np.zeros(len(found.images), dtype=np.int64)
    return SplitFacts(labels, found.images, split.names.__getitem__, len(found.images))
