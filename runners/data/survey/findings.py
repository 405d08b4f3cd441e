"""What the images of two splits say about a dataset: why it is refused, and what a reader of the numbers must know.

Refused: images that cannot be decoded, labels that are no numbers of classes, a stream of another length than it says,
splits of which one holds all images of the other. Counted: images that are in both, and files that are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from runners.data.readers.labels import label_faults
from runners.data.survey.split_facts import SplitFacts

__all__ = ["Duplicates", "as_text", "duplicates_between", "faults_of", "notes_of"]

_MOST_NAMED = 5


@dataclass(frozen=True)
class Duplicates:
    """Images that are in both splits.

    Attributes:
        train, test: number of images of each split whose pixels are in the other one, too.
        pairs: names of the first ones, of the training and of the test image.
        within_train, within_test: images of a split that repeat an earlier one of it.
    """

    train: int
    test: int
    pairs: tuple[tuple[str, str], ...]
    within_train: int = 0
    within_test: int = 0


def duplicates_between(train: SplitFacts, test: SplitFacts) -> Duplicates:
    """Images with equal pixels in both splits."""
    ours: dict[str, int] = {}
    for at, fact in enumerate(train.images):
        if fact.digest:
            ours.setdefault(fact.digest, at)
    theirs = [fact.digest for fact in test.images if fact.digest]
    common = ours.keys() & set(theirs)
    pairs = [
        (as_text(train.names(ours[fact.digest])), as_text(test.names(at)))
        for at, fact in enumerate(test.images)
        if fact.digest in common
    ]
    own = [fact.digest for fact in train.images if fact.digest]
    return Duplicates(
        sum(digest in common for digest in own),
        len(pairs),
        tuple(pairs[:_MOST_NAMED]),
        len(own) - len(set(own)),
        len(theirs) - len(set(theirs)),
    )


def faults_of(
    train: SplitFacts, test: SplitFacts, shared: Duplicates, *, names: tuple[str, str], num_classes: int
) -> Iterator[tuple[str, str]]:
    """Why the dataset is refused, each with what to do.

    Args:
        names: of the training and of the test split.
    """
    for facts, name in zip((train, test), names, strict=True):
        if faults := facts.faults:
            listed = "; ".join(f"{path}: {why}" for path, why in faults[:_MOST_NAMED])
            more = f"; and {len(faults) - _MOST_NAMED} more" if len(faults) > _MOST_NAMED else ""
            text = f"{_images(len(faults))} of the split {name!r} cannot be read: {listed}{more}"
            yield text, "repair or remove them: an image in their place would have another label"
        elif len(facts.images) != facts.expected:
            text = f"the split {name!r} says {facts.expected} images, and {len(facts.images)} can be read"
            yield text, "correct its number of images, or repair its files"
        if wrong := label_faults(_readable(facts), num_classes):
            text = f"labels of the split {name!r} are not the numbers of {num_classes} classes: {'; '.join(wrong)}"
            yield (
                text,
                "a label is a number from 0 to num_classes - 1; target_key names another column where there is one",
            )
    ours, theirs = len(train.images), len(test.images)
    if shared.test and (shared.test == theirs or shared.train == ours):
        inner, outer = names[::-1] if shared.test == theirs else names
        text = f"all images of the split {inner!r} are also in {outer!r}: {_pairs(shared)}"
        yield text, "test on images that are not trained on"


def notes_of(train: SplitFacts, test: SplitFacts, shared: Duplicates, *, names: tuple[str, str]) -> Iterator[str]:
    """What a reader of the numbers must know, as sentences."""
    if shared.test:
        yield (
            f"{shared.test} of {len(test.images)} test images {'is' if shared.test == 1 else 'are'} also among the "
            f"training images: {_pairs(shared)}"
        )
    for facts, name in zip((train, test), names, strict=True):
        yield from (f"split {name!r}: {as_text(note)}" for note in facts.notes)


def as_text(name: str) -> str:
    """Names of files need not be text; these are written into files that are."""
    return name.encode(errors="backslashreplace").decode()


def _readable(facts: SplitFacts) -> list[object] | np.ndarray:
    if isinstance(facts.labels, np.ndarray):
        return facts.labels
    return [label for label, fact in zip(facts.labels, facts.images, strict=True) if not fact.fault]


def _pairs(shared: Duplicates) -> str:
    more = shared.test - len(shared.pairs)
    text = ", ".join(ours if ours == theirs else f"{ours} = {theirs}" for ours, theirs in shared.pairs)
    return text + (f" and {more} more" if more > 0 else "")


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"
