"""Construction of validated settings: the values of a candidate row applied to the baseline as written."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from search_space.parsing.errors import Problem, SpecError
from search_space.schema.messages.pydantic_errors import explain
from search_space.schema.sweep import Sweep
from search_space.schema.trial import Setting
from search_space.settings.candidates import CandidateRow
from search_space.settings.naming import format_value
from search_space.settings.paths import lay

__all__ = ["build_setting", "lay_values"]


def lay_values(sweep: Sweep, candidate: CandidateRow) -> dict[str, Any]:
    """Written baseline with the candidate's values applied."""
    data = sweep.written_baseline
    for item in candidate.values:
        data = lay(data, item.path, item.value)
    return data


def build_setting(sweep: Sweep, candidate: CandidateRow) -> Setting:
    """Validated setting of a candidate row."""
    try:
        return Setting.model_validate(lay_values(sweep, candidate), strict=True)
    except ValidationError as err:
        shown = ", ".join(f"{item.path}={format_value(item.value)}" for item in candidate.values)
        reasons = "; ".join(f"{fault.dotted}: {fault.message}" for fault in explain(err, Setting))
        raise SpecError(Problem(f"the combination {shown} is not possible: {reasons}", path="space")) from err
