"""On/off components of a sweep, for the designs of components (`COMPONENT_DESIGNS`), and their placebo arms.

    space: {arch.attention: {off: softmax, on: refiner, placebo: true}}

The row of a placebo has the mechanism of the component with its parameters and its cost, without what it does, so that
a gain over it is not due to more parameters or more arithmetic. Every mechanism defines its own
(`modelzoo/attention/placebo.py`). Such a row belongs to no state of the component: no effect counts it as on or off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from search_space.parsing.errors import SpecError
from search_space.parsing.type_guards import is_dict
from search_space.plugins.open_union import name_of
from search_space.schema.attention import ATTENTION_SPECS
from search_space.schema.parameters import Component, Range
from search_space.schema.sweep import Sweep
from search_space.settings.building import build_setting
from search_space.settings.candidates import CandidateRow, Issue, PathValue, component_values
from search_space.settings.naming import Names
from search_space.settings.paths import is_path

__all__ = [
    "component_candidate",
    "component_issues",
    "components_of",
    "idle_components",
    "num_placebos",
    "placebo_issues",
    "placebos",
]

_FORM = "a component is {off: VALUE, on: VALUE}, or a list of two values, off and on"
_WITH_PLACEBOS = ("add_one_in", "cumulative", "leave_one_out")
_PATH = "arch.attention"
_MATCHED = "elsewhere  match: {params_m: baseline, by: arch.embed_dim}  makes variants of equal cost"


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


def idle_components(sweep: Sweep, what: str) -> Iterator[Issue]:
    """Components that change nothing: two coalitions would be one variant, and which is in the table is arbitrary.

    Args:
        what: what the design measures of a component.
    """
    names = components_of(sweep)
    for name, (key, component) in names.items():
        if component.off == component.on:  # refused by the checks of `space`
            continue
        for rest in (dict.fromkeys(names, False), dict.fromkeys(names, True)):
            with contextlib.suppress(SpecError):  # a combination that is not possible is reported as such elsewhere
                pair = [component_candidate(sweep, rest | {name: is_on}, name) for is_on in (False, True)]
                if build_setting(sweep, pair[0]) == build_setting(sweep, pair[1]):
                    where = "alone" if not any(rest.values()) else "beside all others"
                    message = f"on and off are the same setting {where}, so that its {what} would be that of nothing"
                    yield Issue(("space", key), message, "remove it, or choose another value")
                    break


def placebos(sweep: Sweep, component: str, states: Mapping[str, bool], name: str) -> Iterator[CandidateRow]:
    """The row of these states with the component's placebo in its place; none if the component asks for none."""
    key, parameter = components_of(sweep)[component]
    if parameter.placebo:
        row = component_candidate(sweep, states, name)
        values = (*row.values, PathValue(key, f"{_PATH}.placebo", True))
        yield CandidateRow(values, name=name, placebo_of=component)


def num_placebos(sweep: Sweep) -> int:
    """Number of components that ask for a placebo."""
    return sum(isinstance(each, Component) and each.placebo for each in sweep.space.values())


def placebo_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issues of `placebo: true`: designs that have no such arms, and settings without a placebo."""
    for key, parameter in sweep.space.items():
        if not isinstance(parameter, Component) or not parameter.placebo:
            continue
        place = ("space", key, "placebo")
        if sweep.design.name not in _WITH_PLACEBOS:
            hint = f"remove it, or choose one of {', '.join(_WITH_PLACEBOS)}"
            yield Issue(place, f"`placebo` has no effect in the design {sweep.design.name!r}", hint, at_key=True)
        mechanism = _mechanism(key, parameter)
        name = mechanism if isinstance(mechanism, str) else name_of(mechanism)
        having = [name for name, spec in sorted(ATTENTION_SPECS.items()) if "placebo" in spec.model_fields]
        if mechanism is None:
            message = f"only a whole mechanism has a placebo, and `on` does not set {_PATH}"
            yield Issue(place, message, _MATCHED, at_key=True)
        elif isinstance(name, str) and name in ATTENTION_SPECS and name not in having:
            hint = f"mechanisms with one: {', '.join(having)};\n{_MATCHED}"
            yield Issue(place, f"the mechanism {name!r} has no placebo", hint, at_key=True)
        elif is_dict(mechanism) and mechanism.get("placebo"):
            yield Issue(place, "`on` is a placebo itself", "remove one of the two", at_key=True)


def _mechanism(key: str, component: Component) -> Any:
    """The mechanism that the component sets, as written; None where it sets none."""
    values = {key: component.on} if is_path(key) else component.on
    if not is_dict(values):
        return None
    whole = values.get("arch")
    return values.get(_PATH, whole.get("attention") if is_dict(whole) else None)
