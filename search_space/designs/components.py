"""On/off components of a sweep, for the designs of components (`COMPONENT_DESIGNS`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from search_space.schema.parameters import Component, Range
from search_space.schema.sweep import Sweep
from search_space.settings.candidates import CandidateRow, Issue, component_values
from search_space.settings.naming import Names

__all__ = ["component_candidate", "component_issues", "components_of"]

_FORM = "a component is {off: VALUE, on: VALUE}, or a list of two values, off and on"


def components_of(sweep: Sweep) -> dict[str, tuple[str, Component]]:
    """Components by short name, each with its key in `space`; a list of two values counts as off and on."""
    names = Names(sweep)
    found: dict[str, tuple[str, Component]] = {}
    for key, parameter in sweep.space.items():
        if isinstance(parameter, Component):
            component = parameter
        else:
            off, on = sweep.parameter_choices(key)
            component = Component(off=off.value, on=on.value)
        found[names.short(key)] = (key, component)
    return found


def component_candidate(sweep: Sweep, states: Mapping[str, bool], name: str) -> CandidateRow:
    """Candidate row with the given components on and the others off."""
    values = [
        item
        for short, (key, component) in components_of(sweep).items()
        for item in component_values(key, component, states[short])
    ]
    return CandidateRow(tuple(values), dict(states), name)


def component_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issues of parameters that are not components."""
    design = sweep.design.name
    if not sweep.space:
        yield Issue(("space",), f"the design {design!r} needs components, but `space` is empty", _FORM)
    for key, parameter in sweep.space.items():
        if isinstance(parameter, Component | Range):
            continue
        if len(parameter) != 2:
            message = f"the design {design!r} needs components, but this list has {len(parameter)} values"
            yield Issue(("space", key), message, _FORM)
        for index, choice in enumerate(parameter):
            if choice.with_ or choice.name:
                given = "with" if choice.with_ else "name"
                message = f"a component's value cannot have a {given!r}"
                yield Issue(("space", key, index, given), message, "write the value itself")
