"""Registry of image sources. To add one: a file beside this one and a line here."""

from __future__ import annotations

from typing import Any

from runners.data import digits, shapes
from runners.data import timm_datasets as timm_names
from runners.data.dataset_info import Source

__all__ = ["SOURCES", "source_of"]

SOURCES: dict[str, Source] = {
    "builtin/digits": Source(digits.describe, digits.load, digits.open_splits),
    "builtin/shapes": Source(shapes.describe, shapes.load, shapes.open_splits),
    "timm": Source(timm_names.describe, timm_names.load, timm_names.open_splits),
}
"""`timm` handles every name that is not in the table."""


def source_of(dataset: Any) -> Source:
    return SOURCES.get(dataset.name, SOURCES["timm"])
