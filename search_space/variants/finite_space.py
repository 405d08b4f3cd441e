"""Search spaces without continuous ranges: how many suggestions they have, and each of them.

Such a search ends by itself. Its budget may be larger than the space, and a sampler that draws at random would look for
the last variants without end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from search_space.schema.parameters import Component, Parameter, Range
from search_space.schema.sweep import Sweep
from search_space.variants.suggestion import Category, categories, inner_name

__all__ = ["all_params", "space_size"]


def space_size(sweep: Sweep) -> int | None:
    """Number of different suggestions of a search; None if a range is continuous. Some may make equal variants."""
    sizes = [_size(parameter) for parameter in sweep.space.values()]
    return None if None in sizes else math.prod(size for size in sizes if size is not None)


def all_params(sweep: Sweep) -> Iterator[dict[str, Any]]:
    """Optuna parameters of every suggestion, lazily; only if `space_size` is not None."""
    yield from _combinations([(key, parameter) for key, parameter in sweep.space.items()])


def _size(parameter: Parameter) -> int | None:
    if isinstance(parameter, Component):
        return 2
    if isinstance(parameter, Range):
        return _num_steps(parameter)
    sizes: list[int] = []
    for choice in parameter:
        inner = [_size(below) for below in choice.with_.values()]
        if None in inner:
            return None
        sizes.append(math.prod(size for size in inner if size is not None))
    return sum(sizes)


def _num_steps(given: Range) -> int | None:
    step = given.step if given.step is not None else 1 if given.is_whole else None
    if step is None:
        return None
    return int((Decimal(str(given.max)) - Decimal(str(given.min))) // Decimal(str(step))) + 1


def _combinations(parameters: Sequence[tuple[str, Parameter]]) -> Iterator[dict[str, Any]]:
    if not parameters:
        yield {}
        return
    (name, parameter), *rest = parameters
    for own in _params(name, parameter):
        for others in _combinations(rest):
            yield own | others


def _params(name: str, parameter: Parameter) -> Iterator[dict[str, Any]]:
    """Each value of a parameter, with every combination of the parameters of its choice."""
    if isinstance(parameter, Range):
        first, step = Decimal(str(parameter.min)), Decimal(str(parameter.step or 1))
        for number in range(_num_steps(parameter) or 0):
            value = first + number * step
            yield {name: int(value) if parameter.is_whole else float(value)}
    elif isinstance(parameter, Component):
        yield from ({name: False}, {name: True})
    else:
        known: list[Category] = categories(parameter)
        for category, choice in zip(known, parameter, strict=True):
            below = [(inner_name(name, category, relative), inner) for relative, inner in choice.with_.items()]
            for inner in _combinations(below):
                yield {name: category, **inner}
