"""Candidate rows of a design, before they are built, and the expansion of a parameter's choices into them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from search_space.parsing.type_guards import is_tuple
from search_space.schema.parameters import Choice, Component, Range
from search_space.schema.sweep import Sweep
from search_space.settings.paths import is_path, outer_first

__all__ = [
    "CandidateRow",
    "DesignRule",
    "Issue",
    "PathValue",
    "count_combinations",
    "count_one_at_a_time",
    "has_range",
    "lazy_product",
    "unfold",
    "unfold_one_at_a_time",
]


@dataclass(frozen=True)
class PathValue:
    """Value at a path. `key` is the parameter it belongs to; `is_stated` shows it in names even if it is the default,
    because the sweep varies it."""

    key: str
    path: str
    value: Any
    label: str | None = None
    is_stated: bool = False


@dataclass(frozen=True)
class CandidateRow:
    """Row of a design matrix: values to apply to the baseline, in this order. `placebo_of` is the component whose
    placebo it has; such a row is no state of components."""

    values: tuple[PathValue, ...] = ()
    components: dict[str, bool] = field(default_factory=dict[str, bool])
    name: str | None = None
    placebo_of: str = ""


@dataclass(frozen=True)
class Issue:
    """Semantic problem of a sweep, not yet located in its file; `path` contains the keys from the top of the file."""

    path: tuple[str | int, ...]
    message: str
    hint: str = ""
    at_key: bool = False


class DesignRule(Protocol):
    """Interface of an experimental design."""

    def issues(self, sweep: Sweep) -> Iterator[Issue]:
        """Issues of the sweep that are specific to the design; single values have been checked before."""
        ...

    def candidates(self, sweep: Sweep) -> Iterator[CandidateRow]:
        """Rows of the design in table order, lazily; the first is the reference of all differences. Duplicates are
        allowed."""
        ...

    def count(self, sweep: Sweep) -> int:
        """Number of candidate rows, without enumerating them."""
        ...


PathValues = tuple[PathValue, ...]


def lazy_product(sources: Sequence[Callable[[], Iterator[PathValues]]]) -> Iterator[PathValues]:
    """Cartesian product of several iterators, the last one varying fastest; `itertools.product` would store them."""
    if not sources:
        yield ()
        return
    for head in sources[0]():
        for tail in lazy_product(sources[1:]):
            yield head + tail


def unfold(sweep: Sweep, key: str) -> Iterator[PathValues]:
    """All values of a parameter; conditional parameters are combined within their choice."""
    if isinstance(component := sweep.space[key], Component):
        for on in (False, True):
            yield component_values(key, component, on, label="on" if on else "off")
    else:
        yield from _unfold_choices(key, key, sweep.parameter_choices(key), is_stated=False)


def unfold_one_at_a_time(sweep: Sweep, key: str) -> Iterator[PathValues]:
    """All values of a parameter, one change at a time: every choice with the first values of its conditional
    parameters, then with one of these changed."""
    if isinstance(sweep.space[key], Component):
        yield from unfold(sweep, key)
    else:
        yield from _vary_choices(key, key, sweep.parameter_choices(key), is_stated=False)


def component_values(key: str, component: Component, on: bool, *, label: str | None = None) -> PathValues:
    """Values of a component that is on or off; a component with a free name has a mapping of paths."""
    value = component.value(on)
    if is_path(key):
        return (PathValue(key, key, value),)
    paths = outer_first(value)
    return tuple(PathValue(key, path, value[path], label if path == paths[0] else None) for path in paths)


def count_combinations(choices: Sequence[Choice]) -> int:
    """Number of items that `unfold` yields."""
    total = 0
    for choice in choices:
        product = 1
        for inner in choice.with_.values():
            product *= count_combinations(_choices(inner))
        total += product
    return total


def count_one_at_a_time(choices: Sequence[Choice]) -> int:
    """Number of items that `unfold_one_at_a_time` yields."""
    return sum(
        1 + sum(count_one_at_a_time(_choices(inner)) - 1 for inner in choice.with_.values()) for choice in choices
    )


def has_range(parameter: Any) -> bool:
    """Whether a parameter, or a conditional parameter of one of its choices, is a range."""
    if not is_tuple(parameter):
        return isinstance(parameter, Range)
    choices: Sequence[Choice] = parameter
    return any(has_range(inner) for choice in choices for inner in choice.with_.values())


def _choices(parameter: Any) -> Sequence[Choice]:
    assert is_tuple(parameter), "only a search has ranges"
    return parameter


def _unfold_choices(key: str, path: str, choices: Sequence[Choice], *, is_stated: bool) -> Iterator[PathValues]:
    for choice in choices:
        own = PathValue(key, path, choice.value, choice.name, is_stated)
        inner = [_source(_unfold_choices, key, path, relative, below) for relative, below in choice.with_.items()]
        for rest in lazy_product(inner):
            yield (own, *rest)


def _vary_choices(key: str, path: str, choices: Sequence[Choice], *, is_stated: bool) -> Iterator[PathValues]:
    for choice in choices:
        own = PathValue(key, path, choice.value, choice.name, is_stated)
        inner = [_source(_vary_choices, key, path, relative, below) for relative, below in choice.with_.items()]
        firsts = [next(source()) for source in inner]
        yield (own, *itertools.chain(*firsts))
        for index, source in enumerate(inner):
            for varied in itertools.islice(source(), 1, None):
                yield (own, *itertools.chain(*firsts[:index], varied, *firsts[index + 1 :]))


def _source(
    walk: Callable[..., Iterator[PathValues]], key: str, path: str, relative: str, below: Any
) -> Callable[[], Iterator[PathValues]]:
    choices = _choices(below)
    return lambda: walk(key, f"{path}.{relative}", choices, is_stated=len(choices) > 1)
