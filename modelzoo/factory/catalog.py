"""What can be built: the names of models, and the attention mechanisms with their options."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import Any

import timm

from search_space.schema.attention import ATTENTION_SPECS

__all__ = ["AttentionEntry", "AttentionOption", "attention_catalog", "available_models"]


@dataclass(frozen=True)
class AttentionOption:
    """One option of a mechanism as a sweep writes it."""

    name: str
    default: Any
    description: str


@dataclass(frozen=True)
class AttentionEntry:
    """One mechanism: its name in a sweep, a line about it, and its options."""

    name: str
    summary: str
    options: tuple[AttentionOption, ...]


def available_models(pattern: str = "") -> list[str]:
    """`vit` and timm's names that match: part of a name, or a pattern with `*`; everything without one."""
    wanted = pattern if "*" in pattern else f"*{pattern}*"
    return [*fnmatch.filter(["vit"], wanted), *timm.list_models(wanted)]


def attention_catalog() -> list[AttentionEntry]:
    """Every mechanism with the options that a sweep can give it, by name."""
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
