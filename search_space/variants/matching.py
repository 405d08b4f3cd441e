"""Variants of equal cost (`match`): checks of the section, and variants with the solved value.

The solver needs the cost of models: `runners/planning/match_solver.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pydantic import ValidationError

from search_space.schema.messages.pydantic_errors import explain
from search_space.schema.sweep import Sweep
from search_space.schema.trial import Setting
from search_space.settings.candidates import Issue
from search_space.settings.naming import Names, touched_paths
from search_space.settings.paths import MISSING, is_path, lay, overlap, path_hint, value_at
from search_space.variants.variant import Variant

__all__ = ["ImpossibleValue", "match_issues", "match_step", "with_matched_value"]

_WHOLE_STEP = 1
_FRACTION_STEP = 0.05


class ImpossibleValue(Exception):
    """Value that a setting cannot have; the message contains the reason."""


def match_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issues of the section `match`."""
    match = sweep.match
    if match is None:
        return
    if (match.params_m is None) == (match.gmacs is None):
        came = "neither" if match.params_m is None else "both"
        hint = "for example  match: {params_m: baseline, by: arch.embed_dim}"
        yield Issue(("match",), f"must name one of params_m and gmacs, but got {came}", hint)
    if sweep.design.name == "search":
        hint = "limit the cost instead, for example  require: [params_m <= 5]"
        yield Issue(("match",), "`match` has no effect in the design 'search'", hint)
    if not is_path(match.by):
        yield Issue(("match", "by"), f"unknown path {match.by!r}", path_hint(match.by))
        return
    if not match.by.startswith("arch."):
        yield Issue(("match", "by"), f"{match.by} does not change the cost of a model", "for example  arch.embed_dim")
        return
    varied = next((path for path in touched_paths(sweep, with_match=False) if overlap(path, match.by)), None)
    if varied is not None and varied.startswith(match.by):
        message = f"{match.by} is varied by the sweep, so it cannot be solved for"
        yield Issue(("match", "by"), message, "solve for another number, for example  arch.mlp_ratio")
    value = value_at(sweep.baseline, match.by)
    if isinstance(value, bool) or not isinstance(value, int | float):
        shown = "leaves it to the model" if value is None else "has none" if value is MISSING else f"has {value!r}"
        message = f"{match.by} must be a number in the baseline, which {shown}"
        yield Issue(("match", "by"), message, "write the number there: the search for a match starts from it")
    elif isinstance(value, int) and match.step is not None and not isinstance(match.step, int):
        yield Issue(("match", "step"), f"must be a whole number, as {match.by} is, but got {match.step}")


def match_step(sweep: Sweep) -> int | float:
    """Step of the solver: the candidates are its multiples."""
    assert sweep.match is not None
    if sweep.match.step is not None:
        return sweep.match.step
    return _WHOLE_STEP if isinstance(value_at(sweep.baseline, sweep.match.by), int) else _FRACTION_STEP


def with_matched_value(sweep: Sweep, variant: Variant, value: float, *, reference: Setting) -> Variant:
    """Variant with another value at `match.by`, which is added to its name if it differs from the previous value.

    Args:
        reference: Setting that the variant's `changes` refer to.

    Raises:
        ImpossibleValue: a setting cannot have this value.
    """
    assert sweep.match is not None
    path = sweep.match.by
    try:
        setting = Setting.model_validate(lay(variant.setting.model_dump(), path, value), strict=True)
    except ValidationError as err:
        raise ImpossibleValue("; ".join(fault.message for fault in explain(err, Setting))) from None
    changes = {key: changed for key, changed in variant.changes.items() if key != path}
    if value_at(reference, path) != value:
        changes[path] = value
    is_new = value_at(variant.setting, path) != value
    name = f"{variant.name}, {Names(sweep).text(path, value)}" if is_new else variant.name
    return replace(variant, name=name, changes=changes, setting=setting)
