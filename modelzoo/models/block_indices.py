"""Indices of blocks, as people give them: `all`, the last n, or a list; and of features, in timm's three ways.

timm has `feature_take_indices`, but in a private module.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from search_space.parsing.errors import Problem, SpecError

__all__ = ["chosen_blocks", "reject_unused_options", "taken_indices"]


def chosen_blocks(name: str, blocks: str | int | Sequence[int], depth: int) -> set[int]:
    """Indices of `all` blocks, of the last n if int, or these."""
    if blocks == "all":
        return set(range(depth))
    if isinstance(blocks, str):
        raise SpecError(Problem(f"{name} is {blocks!r}", hint="legal: all, a number (the last ones), or indices"))
    if isinstance(blocks, int):
        if not 0 <= blocks <= depth:
            raise SpecError(Problem(f"{name}={blocks}: the model has {depth} blocks", hint=f"legal: 0 to {depth}"))
        return set(range(depth - blocks, depth))
    beyond = [index for index in blocks if not 0 <= index < depth]
    if beyond:
        raise SpecError(Problem(f"{name}: no such blocks: {beyond}", hint=f"the model has {depth}: 0 to {depth - 1}"))
    return set(blocks)


def reject_unused_options(model: str, options: Iterable[str], reason: str) -> None:
    """Raises SpecError for options of a mechanism that stands nowhere in the model."""
    problems = [
        Problem(f"{model}: {name} would have no effect: {reason}", hint=f"leave {name} out") for name in options
    ]
    if problems:
        raise SpecError(problems)


def taken_indices(indices: int | Sequence[int] | None, count: int) -> list[int]:
    """The last n of `count` if int, all if None, else these, negative ones from the end: `[-1]` of 4 is `[3]`."""
    if indices is None:
        return list(range(count))
    chosen = range(count - indices, count) if isinstance(indices, int) else indices
    if not chosen or not all(-count <= index < count for index in chosen):
        raise ValueError(f"there are {count} intermediate features, but indices={indices!r} was asked for")
    return [index % count for index in chosen]
