"""Spec of the task `python`: a function of the user's own trains and measures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from search_space.schema.tasks.foreign import ForeignSpec

__all__ = ["PythonSpec"]

_REFERENCE = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
Reference = Annotated[str, Field(pattern=_REFERENCE, max_length=300)]


class PythonSpec(ForeignSpec):
    """`MODULE:FUNCTION` of a plug-in, called as `function(config, report)`, which returns metrics."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    name: Literal["python"] = "python"  # pyright: ignore[reportIncompatibleVariableOverride]
    function: Reference = Field(
        description="MODULE:FUNCTION, called with `config` and `report`; the module is a plug-in's"
    )
    config_schema: Reference | None = Field(
        default=None,
        alias="schema",
        description="MODULE:CLASS, a dataclass or pydantic model: `config` is checked against it and passed as one",
    )
