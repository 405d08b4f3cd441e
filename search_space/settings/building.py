"""From a draft to a validated setting: its values laid over the baseline as it was written."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from search_space.parsing.errors import Problem, SpecError
from search_space.schema.pydantic_errors import explain
from search_space.schema.sweep import Sweep
from search_space.schema.trial import Setting
from search_space.settings.candidates import Draft
from search_space.settings.naming import format_value
from search_space.settings.paths import lay

__all__ = ["build_setting", "lay_picks"]


def lay_picks(sweep: Sweep, draft: Draft) -> dict[str, Any]:
    """The written baseline with the draft's values laid over it."""
    data = sweep.written_baseline
    for pick in draft.picks:
        data = lay(data, pick.path, pick.value)
    return data


def build_setting(sweep: Sweep, draft: Draft) -> Setting:
    """The validated setting of a draft."""
    try:
        return Setting.model_validate(lay_picks(sweep, draft), strict=True)
    except ValidationError as err:
        shown = ", ".join(f"{pick.path}={format_value(pick.value)}" for pick in draft.picks)
        reasons = "; ".join(f"{fault.dotted}: {fault.message}" for fault in explain(err, Setting))
        raise SpecError(Problem(f"the combination {shown} is not possible: {reasons}", path="space")) from err
