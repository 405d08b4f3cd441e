"""Placebo arms of components: the component's mechanism with its parameters and its cost, and without what it does.

    space: {arch.attention: {off: softmax, on: refiner, placebo: true}}

A component's gain over its placebo is not due to more parameters or more arithmetic. Every mechanism defines its own
(`modelzoo/attention/placebo.py`). A row of one belongs to no state of the component, so that no effect counts it as on
or off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from search_space.designs.components import component_candidate, components_of
from search_space.parsing.type_guards import is_dict
from search_space.plugins.open_union import name_of
from search_space.schema.attention import ATTENTION_SPECS
from search_space.schema.parameters import Component
from search_space.schema.sweep import Sweep
from search_space.settings.candidates import CandidateRow, Issue, PathValue
from search_space.settings.paths import is_path

__all__ = ["num_placebos", "placebo_issues", "placebos"]

_DESIGNS = ("add_one_in", "cumulative", "leave_one_out")
_PATH = "arch.attention"
_MATCHED = "elsewhere  match: {params_m: baseline, by: arch.embed_dim}  makes variants of equal cost"


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
        if sweep.design.name not in _DESIGNS:
            hint = f"remove it, or choose one of {', '.join(_DESIGNS)}"
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
    if is_path(key):
        return component.on if key == _PATH else None
    return component.on.get(_PATH) if is_dict(component.on) else None
