"""Catalog of the zoo: names of models, and attention mechanisms with their options."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import Any

import timm

from search_space.schema.attention import ATTENTION_SPECS

__all__ = ["AttentionEntry", "AttentionOption", "attention_catalog", "available_models"]


@dataclass(frozen=True)
class AttentionOption:
    """Option of an attention mechanism, as written in a sweep."""

    name: str
    default: Any
    description: str


@dataclass(frozen=True)
class AttentionEntry:
    """Attention mechanism: its name in a sweep, a summary, and its options."""

    name: str
    summary: str
    options: tuple[AttentionOption, ...]


def available_models(pattern: str = "") -> list[str]:
    """Model names (`vit` and timm's) that match a part of a name or a pattern with `*`; all names without a pattern."""
    wanted = pattern if "*" in pattern else f"*{pattern}*"
    return [*fnmatch.filter(["vit"], wanted), *timm.list_models(wanted)]


def attention_catalog() -> list[AttentionEntry]:
    """All attention mechanisms with their sweepable options, sorted by name."""
    return [
        AttentionEntry(
            name=name,
            summary=" ".join((spec.__doc__ or "").split()),
            options=tuple(
                AttentionOption(field_name, field.get_default(), field.description or "")
                for field_name, field in spec.model_fields.items()
                if field_name != "name"
            ),
        )
        for name, spec in sorted(ATTENTION_SPECS.items())
    ]
