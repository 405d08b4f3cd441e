"""Survey of images with objects: annotations compared with the images, every one of which is decoded once.

Counted are the objects of every class; crowds count, because they are there to be found. The share of the most frequent
class says nothing of average precision, and is stated of objects as of anything that has one class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from runners.data.dataset_info import DataInfo
from runners.data.detection.coco_folders import CocoSplit
from runners.data.detection.drawn import names_of_scenes
from runners.data.detection.objects import Objects
from runners.data.detection.sources import FAULT_HINT, load_drawn, mask_faults, open_coco_folder
from runners.data.readers.image_facts import ImageFact, facts_of_files
from runners.data.readers.place import problem
from runners.data.survey.findings import as_text, duplicates_between, faults_of, notes_of
from runners.data.survey.result import SplitSurvey, Survey
from runners.data.survey.split_facts import SplitFacts
from search_space.parsing.errors import first_of
from search_space.schema.task import DetectionSpec, TaskSpec

__all__ = ["look_at_objects"]

_MOST_DRAWN = 2000
_MOST_NAMED = 3


def look_at_objects(task: TaskSpec, resources: Any, *, say: Callable[[str], None], info: DataInfo) -> Survey:
    """The survey of a task's dataset with its faults; see `look_at_dataset`."""
    assert isinstance(task, DetectionSpec)
    dataset: Any = task.dataset
    if dataset.num_built_in is not None:
        return _drawn(dataset, info)
    train, test = open_coco_folder(dataset, resources)
    names = (dataset.train_split, dataset.test_split)
    faults = [(text, FAULT_HINT) for each in (train, test) for text in each.faults]
    faults += mask_faults(task, train, test)
    notes, shared, facts = [*train.notes, *test.notes], None, ((), ())
    if not faults:
        facts = tuple(facts_of_files(each.paths, str(each.place.images), say=say) for each in (train, test))
        ours, theirs = (_facts(each, found) for each, found in zip((train, test), facts, strict=True))
        shared = duplicates_between(ours, theirs)
        faults += faults_of(ours, theirs, shared, names=names, num_classes=1)
        faults += [
            (text, FAULT_HINT)
            for each, found in zip((train, test), facts, strict=True)
            for text in _other_sizes(each, found)
        ]
        notes += notes_of(ours, theirs, shared, names=names)
        faults += _without_objects(train, test)
    of_train, of_test = (
        SplitSurvey(
            name,
            len(each),
            _counts(each.objects, info.num_classes),
            Counter((fact.height, fact.width) for fact in found),
        )
        for name, each, found in zip(names, (train, test), facts, strict=True)
    )
    return Survey(
        f"{dataset.name} ({names[0]}, {names[1]})",
        info,
        of_train,
        of_test,
        class_names=train.categories,
        duplicates=shared,
        notes=tuple(map(as_text, notes)),
        faults=tuple(problem(dataset, as_text(text), hint) for text, hint in faults),
    )


def _drawn(dataset: Any, info: DataInfo) -> Survey:
    num_train = info.num_train + info.num_val
    counts: tuple[tuple[int, ...], ...] = ((), ())
    if max(num_train, info.num_test) <= _MOST_DRAWN:
        counts = tuple(_counts(each.objects, info.num_classes) for each in load_drawn(dataset))
    of_train, of_test = (
        SplitSurvey("", number, each, Counter({info.img_size: number}))
        for number, each in zip((num_train, info.num_test), counts, strict=True)
    )
    return Survey(dataset.name, info, of_train, of_test, class_names=names_of_scenes(dataset))


def _counts(objects: Sequence[Objects], num_classes: int) -> tuple[int, ...]:
    """Objects of every class."""
    labels = np.concatenate([np.zeros(0, dtype=np.int64), *(each.labels for each in objects)])
    return tuple(np.bincount(labels, minlength=num_classes).tolist())


def _facts(split: CocoSplit, found: Sequence[ImageFact]) -> SplitFacts:
    """The images of a split, to be compared with those of the other one."""
    labels = np.zeros(len(found), dtype=np.int64)
    return SplitFacts(labels, found, split.names.__getitem__, len(found))


def _other_sizes(split: CocoSplit, found: Sequence[ImageFact]) -> list[str]:
    wrong = [
        f"{name}: {fact.height} x {fact.width} instead of {objects.size[0]} x {objects.size[1]}"
        for name, fact, objects in zip(split.names, found, split.objects, strict=True)
        if not fact.fault and (fact.height, fact.width) != objects.size
    ]
    what = f"{len(wrong)} images of another size (high x wide) than the annotations say: "
    return [f"{split.place.name}: {what}{first_of(wrong, _MOST_NAMED)}"] if wrong else []


def _without_objects(train: CocoSplit, test: CocoSplit) -> list[tuple[str, str]]:
    """A split in which there is nothing to learn or nothing to find."""
    return [
        (
            f"the split {each.split!r} has no object" + " but crowds (iscrowd: 1)" * any(map(len, each.objects)),
            "name another split with train_split and test_split, or correct iscrowd",
        )
        for each in (train, test)
        if all(objects.is_crowd is not None and objects.is_crowd.all() for objects in each.objects)
    ]
