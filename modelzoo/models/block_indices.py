"""Block indices from `all`, the last n, or a list; and indices of intermediate features as in timm.

timm's own `feature_take_indices` is in a private module.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence

from search_space.parsing.errors import Problem, SpecError

__all__ = ["chosen_blocks", "reject_unused_options", "taken_indices"]


def chosen_blocks(name: str, blocks: str | int | Sequence[int], depth: int) -> set[int]:
    """Indices of the chosen blocks: `all`, the last n if int, or an explicit list."""
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


def reject_unused_options(model: str, mechanism: type, options: Iterable[str], reason: str) -> None:
    """Refuse options of a mechanism that no block of the model uses.

    Raises:
        TypeError: the mechanism has no such option either, as from the constructor of a model.
        SpecError: all others.
    """
    known = inspect.signature(mechanism).parameters
    for name in options:
        if name not in known:
            raise TypeError(f"{model} got an unexpected keyword argument {name!r}")
    problems = [Problem(f"{model}: {name} would have no effect: {reason}", hint=f"remove {name}") for name in options]
    if problems:
        raise SpecError(problems)


def taken_indices(indices: int | Sequence[int] | None, count: int) -> list[int]:
    """Indices of features as in timm: the last n of `count` if int, all if None, else a list: `[-1]` of 4 is `[3]`."""
    if indices is None:
        return list(range(count))
    chosen = range(count - indices, count) if isinstance(indices, int) else indices
    if not chosen or not all(-count <= index < count for index in chosen):
        raise ValueError(f"the model has {count} intermediate features, but got indices={indices!r}")
    return [index % count for index in chosen]
