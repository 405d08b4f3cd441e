"""Type guards for values that came out of YAML: what `isinstance` tests, with `Any` inside instead of an unknown type.

A type checker takes `isinstance(value, dict)` for a mapping of unknown keys and values, and in strict mode refuses each
use of these. What a sweep file holds at a place is not known before it is validated; `Any` says so once, here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

__all__ = ["is_dict", "is_list_or_tuple", "is_mapping", "is_tuple"]


def is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    return isinstance(value, dict)


def is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def is_tuple(value: object) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(value, tuple)


def is_list_or_tuple(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple)
