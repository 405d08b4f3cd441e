"""What a design proposes before anything is built, and how a parameter's choices unfold into values at paths."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from search_space.parsing.type_guards import is_tuple
from search_space.schema.parameters import Choice, Component
from search_space.schema.sweep import Sweep
from search_space.settings.paths import is_path, split

__all__ = [
    "CandidateRow",
    "DesignRule",
    "Issue",
    "PathValue",
    "count_combinations",
    "count_one_at_a_time",
    "lazy_product",
    "unfold",
    "unfold_one_at_a_time",
]


@dataclass(frozen=True)
class PathValue:
    """One value at one path. `key` is the parameter it belongs to; `is_stated` shows it in names even where it is the
    default, because the sweep varies it."""

    key: str
    path: str
    value: Any
    label: str | None = None
    is_stated: bool = False


@dataclass(frozen=True)
class CandidateRow:
    """A proposed row: values to lay over the baseline, in this order."""

    values: tuple[PathValue, ...] = ()
    components: dict[str, bool] = field(default_factory=dict[str, bool])
    name: str | None = None


@dataclass(frozen=True)
class Issue:
    """Why a sweep does not fit a design; `path` are the keys from the top of the file."""

    path: tuple[str | int, ...]
    message: str
    hint: str = ""
    at_key: bool = False


class DesignRule(Protocol):
    """The contract of a design."""

    def issues(self, sweep: Sweep) -> Iterator[Issue]:
        """What the design cannot work with. Values have been checked one by one before."""
        ...

    def candidates(self, sweep: Sweep) -> Iterator[CandidateRow]:
        """The proposed rows in table order, lazily; the first is the reference of all deltas. Repetitions are fine."""
        ...

    def count(self, sweep: Sweep) -> int:
        """How many candidates there are, without making them."""
        ...


PathValues = tuple[PathValue, ...]


def lazy_product(sources: Sequence[Callable[[], Iterator[PathValues]]]) -> Iterator[PathValues]:
    """The product of several iterations, the last turning fastest; `itertools.product` would store them all first."""
    if not sources:
        yield ()
        return
    for head in sources[0]():
        for tail in lazy_product(sources[1:]):
            yield head + tail


def unfold(sweep: Sweep, key: str) -> Iterator[PathValues]:
    """Every value of a parameter; the parameters that a choice brings along are multiplied out inside the choice."""
    if isinstance(component := sweep.space[key], Component):
        for on in (False, True):
            yield component_values(key, component, on, label="on" if on else "off")
    else:
        yield from _unfold_choices(key, key, sweep.parameter_choices(key), is_stated=False)


def unfold_one_at_a_time(sweep: Sweep, key: str) -> Iterator[PathValues]:
    """Every choice with the first values of its own parameters, then its own parameters one at a time."""
    if isinstance(sweep.space[key], Component):
        yield from unfold(sweep, key)
    else:
        yield from _vary_choices(key, key, sweep.parameter_choices(key), is_stated=False)


def component_values(key: str, component: Component, on: bool, *, label: str | None = None) -> PathValues:
    """The values of a component that is on or off; a free key brings a mapping of paths."""
    value = component.value(on)
    if is_path(key):
        return (PathValue(key, key, value),)
    # outer nodes first, or they would wipe out what was laid inside them
    paths = sorted(value, key=lambda path: len(split(path)))
    return tuple(PathValue(key, path, value[path], label if path == paths[0] else None) for path in paths)


def count_combinations(choices: Sequence[Choice]) -> int:
    """How many values `unfold` yields."""
    total = 0
    for choice in choices:
        product = 1
        for inner in choice.with_.values():
            product *= count_combinations(_choices(inner))
        total += product
    return total


def count_one_at_a_time(choices: Sequence[Choice]) -> int:
    """How many values `unfold_one_at_a_time` yields."""
    return sum(
        1 + sum(count_one_at_a_time(_choices(inner)) - 1 for inner in choice.with_.values()) for choice in choices
    )


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
