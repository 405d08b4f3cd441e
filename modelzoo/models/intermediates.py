"""Which intermediate features are meant: timm's three ways to say it, for the models that have their own loops."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["taken_indices"]


def taken_indices(indices: int | Sequence[int] | None, count: int) -> list[int]:
    """The last n of `count` if int, all if None, else these, negative ones from the end: `[-1]` of 4 is `[3]`."""
    if indices is None:
        return list(range(count))
    chosen = range(count - indices, count) if isinstance(indices, int) else indices
    if not chosen or not all(-count <= index < count for index in chosen):
        raise ValueError(f"there are {count} intermediate features, but indices={indices!r} was asked for")
    return [index % count for index in chosen]
