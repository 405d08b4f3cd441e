"""Families of plug-ins, and what the loaded plug-ins add to each.

A table of ours stays an explicit dict where it is read; `extended` lays it over a view of what plug-ins add, which
grows when one is loaded. Each family's contract is that of its own table (docs/extending.md).
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, TypeVar

from search_space.parsing.errors import Problem, SpecError
from search_space.plugins.plugin import LOADED

__all__ = ["FAMILIES", "contributed", "extended", "listed", "on_change", "own_names", "tell_readers"]

T = TypeVar("T")

FAMILIES = {
    "attention": "a class on archsweep.testing.TokenAttention; options are its keyword-only arguments",
    "dataset": "a class or function of (split, data_dir, options) that gives a map-style dataset",
    "design": "a class whose candidates(sweep) gives the rows; options are the arguments of its constructor",
    "exporter": "a function write(table, stream)",
    "figure": "a function draw(evidence) that gives a Figure, or None without data",
    "metric": "a PredictionMetric of search_space.schema.metrics: unit, direction, and its function of predictions",
    "pruner": "a class on optuna.pruners.BasePruner",
    "sampler": "a class on optuna.samplers.BaseSampler",
    "task": "a class with the methods of runners.tasks.Task",
}
"""Families by name, with what a member is. Models need no entry: timm's `@register_model` registers them."""

_CONTRIBUTED: dict[str, dict[str, Any]] = {family: {} for family in FAMILIES}
_OWN: dict[str, set[str]] = {family: set() for family in FAMILIES}
_READERS: list[Callable[[], object]] = []


def contributed(family: str) -> MutableMapping[str, Any]:
    """Name -> what a loaded plug-in gives under it; the same mapping every time, changed when one is loaded."""
    return _CONTRIBUTED[family]


def extended(family: str, own: dict[str, T]) -> MutableMapping[str, T]:
    """Our own table of a family and what plug-ins add to it, as one mapping. Plug-ins cannot replace ours.

    Raises:
        SpecError: one that was loaded before this table was imported wanted to.
    """
    _OWN[family] |= set(own)
    if taken := sorted(_OWN[family] & set(_CONTRIBUTED[family])):
        problems = [
            Problem(
                f"PLUGINS: archsweep has the {family} {name!r} itself",
                where=next((plugin.origin for plugin in LOADED.values() if plugin.adds(family, name)), ""),
                hint="rename yours",
            )
            for name in taken
        ]
        raise SpecError(problems)
    return _OwnFirst(own, _CONTRIBUTED[family])


class _OwnFirst(ChainMap[str, T]):
    """Iterates over ours before those of plug-ins, where a plain `ChainMap` begins with the last mapping."""

    def __iter__(self) -> Iterator[str]:
        return iter({name: None for mapping in self.maps for name in mapping})


def own_names(family: str) -> set[str]:
    """Names of ours that plug-ins may not take; complete once the family's table is imported."""
    return _OWN[family]


def on_change(read_again: Callable[[], object]) -> None:
    """Register a function that brings what was derived from the tables up to date; called after each plug-in."""
    _READERS.append(read_again)


def tell_readers() -> None:
    """Call what `on_change` has registered."""
    for read_again in _READERS:
        read_again()


def listed(table: Mapping[str, Mapping[str, Any]]) -> str:
    """The names of contributions by family, for people: `attention: gated; exporter: org`."""
    return "; ".join(f"{family}: {', '.join(sorted(names))}" for family, names in sorted(table.items()) if names)
