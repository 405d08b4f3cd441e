"""Relation between options that a setting breaks."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BrokenRelation"]


@dataclass(frozen=True)
class BrokenRelation:
    """Relation that a setting breaks. `paths` are those that it depends on, `path` the one to change."""

    path: str
    message: str
    hint: str
    paths: tuple[str, ...]
