"""Table of the specs of a family: ours as declared, those of plug-ins by the signature of what makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from search_space.plugins.contracts import plugin_that_adds
from search_space.plugins.families import contributed, extended
from search_space.plugins.signature import spec_of

__all__ = ["SpecTable"]

S = TypeVar("S", bound=BaseModel)


class SpecTable(Mapping[str, type[S]], Generic[S]):
    """Name -> spec. It grows when a plug-in is loaded.

    Args:
        own: our specs.
        base: base class of the specs of plug-ins.
        also: further fields of these, as pydantic's `create_model` takes them.
        given: number of arguments of a class or function that archsweep gives; the others are options.
        read: gives the spec of a member that has one; default: it is read from its signature.
    """

    def __init__(
        self,
        family: str,
        own: Mapping[str, type[S]],
        base: type[S],
        *,
        also: Mapping[str, Any] | None = None,
        given: int = 1,
        read: Callable[[Any], type[S]] | None = None,
    ) -> None:
        self._family, self._own, self._base = family, dict(own), base
        self._also, self._given, self._of = dict(also or {}), given, read
        self._all: Mapping[str, Any] = extended(family, dict(own))
        self._read: dict[str, tuple[Any, type[S]]] = {}

    def __getitem__(self, name: str) -> type[S]:
        if name in self._own:
            return self._own[name]
        made = contributed(self._family)[name]
        if self._of is not None:
            return self._of(made)
        if name not in self._read or self._read[name][0] is not made:
            plugin = plugin_that_adds(self._family, name)
            where = plugin.origin if plugin else ""
            spec: Any = spec_of(self._family, name, made, self._base, where=where, also=self._also, given=self._given)
            self._read[name] = made, spec
        return self._read[name][1]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._own, *sorted(contributed(self._family))])

    def __len__(self) -> int:
        return len(self._all)
