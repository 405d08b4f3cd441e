"""Semantic checks of `space`: every path exists, and every single value is legal at its path.

A value is legal if the baseline with this value is a valid setting. The legal values of a path are therefore defined in
one place only, the specs, and an illegal value is reported for the file instead of in the middle of a sweep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import combinations
from typing import Any

from pydantic import ValidationError

from search_space.parsing.type_guards import is_dict
from search_space.schema.identity import variant_id
from search_space.schema.messages.pydantic_errors import Fault, explain, quote
from search_space.schema.parameters import Choice, Component, Range
from search_space.schema.sweep import Sweep
from search_space.schema.trial import Setting
from search_space.settings.candidates import Issue
from search_space.settings.naming import Names
from search_space.settings.paths import is_path, lay, lay_together, overlap, path_hint, split

__all__ = ["parameter_issues", "space_issues", "value_issues"]

Path = tuple[str | int, ...]
_ROOTS = ("arch", "task", "train")


def space_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issues of the section `space`."""
    for key, parameter in sweep.space.items():
        if is_path(key):
            yield from _Parameter(sweep, sweep.written_baseline, key, ("space", key)).issues(parameter)
        elif isinstance(parameter, Component) and key.split(".")[0] not in _ROOTS:
            yield from _free_component(sweep, key, parameter)
        else:
            hint = path_hint(key)
            if isinstance(parameter, Component):
                hint += "\nor, with any other name, a component of the form {off: {path: value}, on: {path: value}}"
            yield Issue(("space", key), f"unknown path {key!r}", hint, at_key=True)
    yield from _overlaps(sweep)
    yield from _names(sweep)


def parameter_issues(sweep: Sweep, path: str, place: Path, parameter: Any) -> Iterator[Issue]:
    """Issues of the values of one parameter outside of `space`; ranges are legal."""
    yield from _Parameter(sweep, sweep.written_baseline, path, place, allows_ranges=True).issues(parameter)


def value_issues(sweep: Sweep, values: Mapping[str, Any], places: Mapping[str, Path]) -> Iterator[Issue]:
    """Issues of values that are applied to the baseline together."""
    for fault in _faults(lay_together(sweep.written_baseline, values)):
        owner = next((path for path in values if _inside(fault, path) is not None), None)
        if owner is None:
            yield Issue(next(iter(places.values())), f"{fault.dotted}: {fault.message}", fault.hint)
        else:
            yield _issue(fault, owner, places[owner])


class _Parameter:
    """Checker of one parameter: its path, its place in the file, and the written setting that its values modify."""

    def __init__(
        self, sweep: Sweep, data: dict[str, Any], path: str, place: Path, *, allows_ranges: bool | None = None
    ) -> None:
        self.sweep, self.data, self.path, self.place = sweep, data, path, place
        self.allows_ranges = sweep.design.name == "search" if allows_ranges is None else allows_ranges

    def issues(self, parameter: Any) -> Iterator[Issue]:
        if isinstance(parameter, Range):
            yield from self._range(parameter)
        elif isinstance(parameter, Component):
            yield from self._component(parameter)
        else:
            yield from self._choices(parameter)

    def _choices(self, choices: tuple[Choice, ...]) -> Iterator[Issue]:
        seen: dict[str, int] = {}
        labels: set[str] = set()
        for index, choice in enumerate(choices):
            place = (*self.place, index)
            faults = list(self._value(choice.value, place))
            yield from faults
            if any(fault.at_key and fault.path == self.place for fault in faults):
                return  # the path itself does not exist here; its other values would repeat the issue
            if faults:
                continue
            data = lay(self.data, self.path, choice.value)
            identity = variant_id(Setting.model_validate(data, strict=True)) + repr(sorted(choice.with_))
            if identity in seen and not choice.with_:
                first = seen[identity] + 1
                yield Issue(place, f"is the same as value {first} of this list", "remove one of them")
            seen.setdefault(identity, index)
            if choice.name is not None and choice.name in labels:
                yield Issue((*place, "name"), f"the label {choice.name!r} is given twice")
            labels |= {choice.name} if choice.name else set()
            for relative, inner in choice.with_.items():
                path, inner_place = f"{self.path}.{relative}", (*place, "with", relative)
                if is_path(path):
                    yield from _Parameter(self.sweep, data, path, inner_place).issues(inner)
                else:
                    yield Issue(inner_place, f"unknown path {path!r}", path_hint(path), at_key=True)
            for one, other in combinations(choice.with_, 2):
                if overlap(one, other):
                    yield Issue((*place, "with", other), f"{other!r} and {one!r} overlap", at_key=True)

    def _component(self, component: Component) -> Iterator[Issue]:
        off = list(self._value(component.off, (*self.place, "off")))
        on = list(self._value(component.on, (*self.place, "on")))
        yield from off if any(one.path == self.place for one in off) else [*off, *on]
        if not off and not on and self._identity(component.off) == self._identity(component.on):
            yield Issue((*self.place, "on"), "on and off are the same")

    def _range(self, given: Range) -> Iterator[Issue]:
        if not self.allows_ranges:
            message = f"a range is legal only in a search, not in the design {self.sweep.design.name!r}"
            yield Issue(self.place, message, "list the values to try")
        faults = [*self._value(given.min, (*self.place, "min")), *self._value(given.max, (*self.place, "max"))]
        yield from faults[:1] if faults and faults[0].path == self.place else faults
        if given.min >= given.max:
            yield Issue((*self.place, "max"), f"must be greater than min={given.min}, but got {given.max}")
        if given.log and given.step is not None:
            yield Issue((*self.place, "step"), "a logarithmic range has no step", "remove `step` or `log`")
        if given.log and given.min <= 0 and not faults:
            yield Issue((*self.place, "min"), f"a logarithmic range starts above 0, but got {given.min}")
        if given.step is not None and not given.log and given.min < given.max:
            low, high, step = (Decimal(str(number)) for number in (given.min, given.max, given.step))
            if (high - low) % step:
                reached = low + (high - low) // step * step
                message = f"is not reached from {given.min} in steps of {given.step}"
                yield Issue((*self.place, "max"), message, f"write {reached} or {reached + step}")

    def _value(self, value: Any, place: Path) -> Iterator[Issue]:
        for fault in _faults(lay(self.data, self.path, value)):
            if fault.at_key and fault.path == tuple(split(self.path)):
                hint = fault.hint
                if len(self.place) == 2:
                    hint += "\nwrite parameters of a single choice inside that choice: {value: NAME, with: {...}}"
                yield Issue(self.place, fault.message, hint, at_key=True)
            elif _inside(fault, self.path) is None:
                yield Issue(place, f"{fault.dotted}: {fault.message}", fault.hint)
            else:
                yield _issue(fault, self.path, place)

    def _identity(self, value: Any) -> str:
        return variant_id(Setting.model_validate(lay(self.data, self.path, value), strict=True))


def _faults(data: dict[str, Any]) -> list[Fault]:
    try:
        Setting.model_validate(data, strict=True)
    except ValidationError as err:
        return explain(err, Setting, data)
    return []


def _inside(fault: Fault, path: str) -> Path | None:
    """Path of a fault relative to `path`, or None if the fault is elsewhere."""
    keys = tuple(split(path))
    return fault.path[len(keys) :] if fault.path[: len(keys)] == keys else None


def _issue(fault: Fault, path: str, place: Path) -> Issue:
    rest = _inside(fault, path) or ()
    return Issue((*place, *rest), fault.message, fault.hint, at_key=fault.at_key)


def _free_component(sweep: Sweep, key: str, component: Component) -> Iterator[Issue]:
    valid = True
    for state in ("off", "on"):
        value, place = getattr(component, state), ("space", key, state)
        if not is_dict(value):
            valid = False
            message = f"{key!r} is not a path, so the component needs a mapping of paths, but got {quote(value)}"
            yield Issue(place, message, "write {off: {path: value}, on: {path: value}}, or a path: " + path_hint(key))
            continue
        unknown = [path for path in value if not is_path(path)]
        for path in unknown:
            yield Issue((*place, path), f"unknown path {path!r}", path_hint(path), at_key=True)
        found = [] if unknown else list(value_issues(sweep, value, {path: (*place, path) for path in value}))
        valid = valid and not unknown and not found
        yield from found
    if valid and component.off == component.on:
        yield Issue(("space", key, "on"), "on and off are the same")


def _overlaps(sweep: Sweep) -> Iterator[Issue]:
    """Issues of parameters with overlapping paths: their order would decide the value.

    Designs that change one parameter at a time may have them.
    """
    if sweep.design.name in ("one_factor", "list"):
        return
    touched: list[tuple[str, str]] = []
    for key, parameter in sweep.space.items():
        sides = (parameter.off, parameter.on) if isinstance(parameter, Component) and not is_path(key) else ()
        paths = {path for side in sides if is_dict(side) for path in side} if sides else {key}
        for other, taken in touched:
            if any(overlap(path, taken) for path in paths):
                hint = "move it into the choice it belongs to: {value: NAME, with: {...}}"
                yield Issue(("space", key), f"{key!r} and {other!r} change the same value", hint, at_key=True)
                break
        touched += [(key, path) for path in paths]


def _names(sweep: Sweep) -> Iterator[Issue]:
    names = Names(sweep)
    short: dict[str, str] = {}
    for key in sweep.space:
        name = names.short(key)
        if name in short:
            message = f"the name {name!r} already denotes {short[name]!r}"
            yield Issue(("space", key), message, "choose another name for the component", at_key=True)
        short.setdefault(name, key)
