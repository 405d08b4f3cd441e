"""Types of the values of training options that are more than a number, a name or a switch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from search_space.parsing.type_guards import is_list_or_tuple
from search_space.schema.attention import Spec

__all__ = ["Channels", "ColorJitter", "CosineRegulariserSpec", "Frozen", "Option", "Range"]

Scalar = bool | int | float | str
Option = Scalar | tuple[Scalar | tuple[Scalar, ...], ...]
"""Value of an argument that another library takes; lists as in YAML."""


def _listed(value: Any) -> Any:
    """One text as a list of it, and null as none. A list becomes a tuple here: behind a validator pydantic takes no
    list for one."""
    if value is None or isinstance(value, str):
        return () if value is None else (value,)
    return tuple(value) if is_list_or_tuple(value) else value


Frozen = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
    BeforeValidator(_listed, json_schema_input_type=str | list[str] | None),
]
"""One pattern, several, or none."""


class CosineRegulariserSpec(Spec):
    """Cosine regulariser of DeepViT: loss + weight * mean similarity of the maps of adjacent blocks."""

    pairs: int = Field(default=12, ge=1, le=1000, description="pairs of adjacent blocks, from the first block on")
    weight: float = Field(default=0.1, gt=0)
    along: Literal["heads", "queries"] = Field(
        default="heads",
        # Not written where it is the default: settings are as they were before there was a choice.
        exclude_if=lambda along: along == "heads",
        description="what the compared vectors run over: the heads of a pair of tokens (official), or the queries of "
        "a head's key (the paper's equation 2)",
    )


def _jitter_tag(value: Any) -> str:
    return "list" if isinstance(value, list | tuple) else "number"


def _channels_tag(value: Any) -> str:
    return "name" if isinstance(value, str) else "list"


Range = tuple[Annotated[float, Field(gt=0, le=100)], Annotated[float, Field(gt=0, le=100)]]
Strength = Annotated[float, Field(ge=0, le=100)]
ColorJitter = Annotated[
    Annotated[Strength, Tag("number")]
    | Annotated[Annotated[tuple[Strength, ...], Field(min_length=3, max_length=4)], Tag("list")],
    Discriminator(_jitter_tag),
]
Channels = Annotated[
    Annotated[Literal["model"], Tag("name")]
    | Annotated[Annotated[tuple[float, ...], Field(min_length=1, max_length=3)], Tag("list")],
    Discriminator(_channels_tag),
]
