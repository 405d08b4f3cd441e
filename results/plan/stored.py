"""What the files of a run directory have in common: how their types are written, and the origin of results."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["Amount", "ForeignText", "Numerics", "Origin", "Preregistered", "Stored", "value_text"]

# Not written where it is `single`: records and plans of trials by themselves are as they always were.
Numerics = Annotated[Literal["single", "fused"], Field(exclude_if=lambda form: form == "single")]
"""Form of a training: by itself, or as one stacked model with others of its shape, which rounds differently."""


class Stored(BaseModel):
    """An object of a file of the run directory. A reader of a newer file keeps the fields that it does not know."""

    # A diverged trial has NaN in its curve: as a string it stays valid JSON and reads back as the number.
    # `defer_build`: each is built when it is first read or written, and a view reads few of them.
    model_config = ConfigDict(frozen=True, extra="allow", ser_json_inf_nan="strings", defer_build=True)


def _encodable(value: Any) -> Any:
    # Messages may quote file names that are not UTF-8; recording a failure must not fail.
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


# Larger numbers are no measurements, and their sums would overflow.
Amount = Annotated[float, Field(ge=-1e15, le=1e15)]
ForeignText = Annotated[str, BeforeValidator(_encodable)]


class Origin(Stored):
    """What a record is of beside its spec. Records of different data never share a mean; those of different code or
    software only where the user asks for it (`archsweep run --changed keep`)."""

    data: str = ""
    code: str = ""
    software: str = ""


class Preregistered(Stored):
    """That a plan was frozen before its first result."""

    date: str = Field(description="ISO 8601, UTC, by the clock of the machine that froze it")
    digest: str = Field(description="SHA-256 of the frozen plan")
    differs: list[str] = Field(default_factory=list, description="what of the plan is not as it was frozen")


def value_text(value: Any) -> str:
    """A value of a plan in a sentence: a list as its elements, anything else as JSON."""
    if isinstance(value, list) and not any(isinstance(each, dict) for each in value):
        return ", ".join(map(str, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)
