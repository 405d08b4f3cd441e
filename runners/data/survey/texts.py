"""Survey of a dataset of text: classes, lengths, and texts that are in both splits.

Lengths are numbers of words between white space, whatever cuts the texts into tokens. A text is a duplicate if it is
the same, character by character, and a pair if both of its sentences are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from runners.data.dataset_info import DataInfo
from runners.data.sources import source_of
from runners.data.survey.findings import Duplicates
from runners.data.survey.result import SplitSurvey, Survey
from runners.data.text.sources import stored_texts
from runners.data.text.splits import Texts
from search_space.parsing.errors import Problem, first_of
from search_space.schema.task import TaskSpec

__all__ = ["look_at_texts"]

_MOST_DRAWN = 20_000
_MOST_NAMED = 5


def look_at_texts(task: TaskSpec, resources: Any, *, say: Callable[[str], None], info: DataInfo) -> Survey:
    """The survey of a task's dataset with its faults; see `look_at_dataset`."""
    dataset: Any = task.dataset
    if dataset.num_built_in is not None:
        return _drawn(dataset, resources, info)
    splits = stored_texts(dataset, resources)
    train, test = splits
    names = (train.files[0][0], test.files[0][0])
    shared = _duplicates(train, test)
    of_train, of_test = (_survey(name, split) for name, split in zip(names, splits, strict=True))
    faults = []
    if shared.test and shared.test == len(test):
        text = f"dataset {dataset.name!r}: all texts of {names[1]} are also in {names[0]}: {_pairs(shared)}"
        faults.append(Problem(text, path="task.dataset", hint="test on texts that are not trained on"))
    return Survey(
        f"{dataset.name} ({names[0]}, {names[1]})",
        info,
        of_train,
        of_test,
        class_names=train.class_names,
        duplicates=shared,
        notes=(*train.notes, *test.notes, *_notes(shared, train, test)),
        faults=tuple(faults),
        unit="texts",
    )


def _drawn(dataset: Any, resources: Any, info: DataInfo) -> Survey:
    num_train = info.num_train + info.num_val
    counts: tuple[tuple[int, ...], ...] = ((), ())
    if max(num_train, info.num_test) <= _MOST_DRAWN:
        splits = source_of(dataset).load(dataset, resources, info, info.img_size)
        counts = tuple(_counts(split.labels.numpy(), info.num_classes) for split in splits)  # pyright: ignore
    train, test = (
        SplitSurvey("", number, count, Counter())
        for number, count in zip((num_train, info.num_test), counts, strict=True)
    )
    return Survey(dataset.name, info, train, test, unit="texts")


def _survey(name: str, split: Texts) -> SplitSurvey:
    counts = _counts(split.labels, len(split.class_names)) if split.class_names else ()
    words = Counter((1, sum(len(sentence.split()) for sentence in text)) for text in split.texts)
    return SplitSurvey(name, len(split), counts, words)


def _counts(labels: np.ndarray, num_classes: int) -> tuple[int, ...]:
    return tuple(np.bincount(labels, minlength=num_classes).tolist())


def _duplicates(train: Texts, test: Texts) -> Duplicates:
    first: dict[tuple[str, ...], int] = {}
    for text, line in zip(train.texts, train.lines, strict=True):
        first.setdefault(text, line)
    theirs = set(test.texts)
    pairs = [
        (f"line {first[text]}", f"line {line}")
        for text, line in zip(test.texts, test.lines, strict=True)
        if text in first
    ]
    return Duplicates(
        sum(text in theirs for text in train.texts),
        len(pairs),
        tuple(pairs[:_MOST_NAMED]),
        len(train) - len(first),
        len(test) - len(theirs),
    )


def _notes(shared: Duplicates, train: Texts, test: Texts) -> Iterator[str]:
    if shared.test:
        are = "is" if shared.test == 1 else "are"
        yield f"{shared.test} of {len(test)} test texts {are} also among the training texts: {_pairs(shared)}"
    missing = [name for at, name in enumerate(train.class_names) if not (test.labels == at).any()]
    if missing:
        yield f"no test text is of the class {first_of(missing, _MOST_NAMED)}"


def _pairs(shared: Duplicates) -> str:
    more = shared.test - len(shared.pairs)
    return ", ".join(" = ".join(pair) for pair in shared.pairs) + (f" and {more} more" if more > 0 else "")
