"""Size of a model's input as it is written: one side, or [height, width]."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

__all__ = ["ImgSize", "as_pair"]


def _img_size_tag(value: Any) -> str:
    return "pair" if isinstance(value, list | tuple) else "side"


Side = Annotated[int, Field(ge=1, le=65_536)]
ImgSize = Annotated[
    Annotated[Side, Tag("side")] | Annotated[tuple[Side, Side], Tag("pair")],
    Discriminator(_img_size_tag),
]


def as_pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a size; both are the side where one is written."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])
