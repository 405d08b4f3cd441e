"""Relations between training options, in the baseline, in every value of the sweep and in the rows of its design."""

from __future__ import annotations

from collections.abc import Iterator

from search_space.schema.sweep import Sweep
from search_space.settings.candidates import Issue
from search_space.settings.paths import split
from search_space.settings.training_relations import broken_relations
from search_space.variants.impossible_choices import impossible_choices, impossible_rows, impossible_tuning

__all__ = ["training_issues"]

_ROOTS = ("task", "train")


def training_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issues of relations that need no torch.

    Args:
        sweep: A sweep whose values are legal one by one.
    """
    for broken in broken_relations(sweep.baseline):
        yield Issue(("baseline", *split(broken.path)), broken.message, broken.hint)
    single = list(impossible_choices(sweep, broken_relations, _ROOTS))
    yield from single
    yield from impossible_tuning(sweep, broken_relations, _ROOTS)
    yield from impossible_rows(sweep, broken_relations, _ROOTS, single)
