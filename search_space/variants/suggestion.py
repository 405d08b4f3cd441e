"""Variants of a search: the suggestions of an Optuna trial, applied to the baseline.

Define-by-run: a conditional parameter is suggested only together with its choice. Optuna stores categories as scalars,
so lists and mappings are represented by text that is the same in every process and every resumed search.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Protocol

from pydantic import ValidationError

from search_space.parsing.errors import SpecError
from search_space.parsing.type_guards import is_dict
from search_space.schema.identity import variant_id
from search_space.schema.parameters import Choice, Component, Parameter, Range
from search_space.schema.sweep import Sweep
from search_space.schema.trial import Setting
from search_space.settings.building import build_setting
from search_space.settings.candidates import CandidateRow, PathValue, component_values
from search_space.settings.naming import Names, format_value
from search_space.settings.paths import MISSING, lay, value_at, value_in_effect
from search_space.settings.training_relations import broken_relations
from search_space.variants.requirements import unmet_requirements
from search_space.variants.variant import Variant, make_variant

__all__ = [
    "Category",
    "InvalidVariant",
    "SuggestingTrial",
    "baseline_params",
    "categories",
    "inner_name",
    "params_of",
    "suggest",
]

Category = None | bool | int | float | str


class SuggestingTrial(Protocol):
    """Interface of an Optuna trial, as far as `suggest` uses it."""

    def suggest_categorical(self, name: str, choices: Sequence[Category]) -> Any: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...


class InvalidVariant(Exception):
    """Suggestion that must not be trained. `variant` is None if its values do not make a valid setting."""

    def __init__(self, reason: str, changes: dict[str, Any], variant: Variant | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.changes = changes
        self.variant = variant


def suggest(sweep: Sweep, trial: SuggestingTrial) -> Variant:
    """Variant that an Optuna trial suggests.

    Raises:
        InvalidVariant: it does not meet a requirement on paths, its values are incompatible, or its training options
            break a relation.
    """
    values: list[PathValue] = []
    for key, parameter in sweep.space.items():
        values += _suggest(trial, key, key, key, parameter)
    candidate = CandidateRow(tuple(values))
    try:
        setting = build_setting(sweep, candidate)
    except SpecError as err:
        raise InvalidVariant(err.problems[0].message, {item.path: item.value for item in values}) from err
    variant = make_variant(Names(sweep), candidate, setting, sweep.baseline)
    if variant.variant_id == variant_id(sweep.baseline):
        variant = Variant("baseline", {}, setting, is_baseline=True)
    reasons = unmet_requirements(sweep, setting, None)
    reasons += [broken.message for broken in broken_relations(setting)]
    if reasons:
        raise InvalidVariant("; ".join(reasons), variant.changes, variant)
    return variant


def baseline_params(sweep: Sweep) -> dict[str, Any] | None:
    """Optuna parameters of the baseline, so that a search can try it first; None if it is outside of the space."""
    return params_of(sweep, sweep.baseline)


def params_of(sweep: Sweep, setting: Setting) -> dict[str, Any] | None:
    """Optuna parameters of a setting; None if it is outside of the search space."""
    params: dict[str, Any] = {}
    data = sweep.written_baseline
    for key, parameter in sweep.space.items():
        found = _match(setting, data, key, key, parameter)
        if found is None:
            return None
        data, inner = found
        params |= inner
    rebuilt = _setting(data)
    return params if rebuilt is not None and variant_id(rebuilt) == variant_id(setting) else None


def categories(choices: Sequence[Choice]) -> list[Category]:
    """Optuna categories of the choices: the value itself if it is a scalar, or a mechanism's name; if these are not
    unique, labels or the values as JSON."""
    short = [_short(choice) for choice in choices]
    # True == 1 == 1.0 for Optuna, so such values need distinct categories
    if len({repr(item) if isinstance(item, str) else item for item in short}) == len(choices):
        return short
    return [choice.name or _as_json(choice.value) for choice in choices]


def _short(choice: Choice) -> Category:
    value = choice.value
    if choice.name is not None:
        return choice.name
    if is_dict(value) and isinstance(value.get("name"), str) and len(value) == 1:
        return value["name"]
    return value if value is None or isinstance(value, bool | int | float | str) else _as_json(value)


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _suggest(trial: SuggestingTrial, name: str, key: str, path: str, parameter: Parameter) -> list[PathValue]:
    if isinstance(parameter, Range):
        return [PathValue(key, path, _suggest_number(trial, name, parameter), is_stated=path != key)]
    if isinstance(parameter, Component):
        on = trial.suggest_categorical(name, [False, True])
        return list(component_values(key, parameter, on, label="on" if on else "off"))
    known = categories(parameter)
    chosen = trial.suggest_categorical(name, known)
    index = next(i for i, category in enumerate(known) if category == chosen and type(category) is type(chosen))
    choice = parameter[index]
    values = [PathValue(key, path, choice.value, choice.name, is_stated=path != key)]
    for relative, inner in choice.with_.items():
        values += _suggest(trial, inner_name(name, known[index], relative), key, f"{path}.{relative}", inner)
    return values


def inner_name(name: str, category: Category, relative: str) -> str:
    """Optuna's name of a parameter that exists only with a choice."""
    return f"{name}[{format_value(category) if not isinstance(category, str) else category}].{relative}"


def _suggest_number(trial: SuggestingTrial, name: str, given: Range) -> int | float:
    if given.is_whole:
        step = 1 if given.step is None else int(given.step)
        return trial.suggest_int(name, int(given.min), int(given.max), step=step, log=given.log)
    return trial.suggest_float(name, float(given.min), float(given.max), step=given.step, log=given.log)


def _match(
    setting: Setting, data: dict[str, Any], name: str, path: str, parameter: Parameter
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Data with the setting's own value at `path`, and the Optuna parameters that suggest it; None without a match."""
    wanted = value_at(setting, path)
    if isinstance(parameter, Range):
        if not _in_range(wanted, parameter):
            return None
        return lay(data, path, wanted), {name: int(wanted) if parameter.is_whole else float(wanted)}
    if isinstance(parameter, Component):
        for on in (False, True):
            laid = data
            values = component_values(name, parameter, on)
            for item in values:
                laid = lay(laid, item.path, item.value)
            if _agree(laid, setting, [item.path for item in values]):
                return laid, {name: on}
        return None
    for category, choice in zip(categories(parameter), parameter, strict=True):
        laid, params = lay(data, path, choice.value), {name: category}
        for relative, inner in choice.with_.items():
            found = _match(setting, laid, inner_name(name, category, relative), f"{path}.{relative}", inner)
            if found is None:
                break
            laid, params = found[0], params | found[1]
        else:
            if _agree(laid, setting, [path]):
                return laid, params
    return None


def _agree(data: dict[str, Any], setting: Setting, paths: Sequence[str]) -> bool:
    found = _setting(data)
    return found is not None and all(value_in_effect(found, path) == value_in_effect(setting, path) for path in paths)


def _setting(data: dict[str, Any]) -> Setting | None:
    try:
        return Setting.model_validate(data, strict=True)
    except ValidationError:  # incompatible values
        return None


def _in_range(value: Any, given: Range) -> bool:
    if value is MISSING or isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if not given.min <= value <= given.max:
        return False
    if given.is_whole and given.step is None:
        return float(value).is_integer()
    if given.step is None:
        return True
    return (Decimal(str(value)) - Decimal(str(given.min))) % Decimal(str(given.step)) == 0
