"""Scalar resolution of YAML 1.2 (core schema): `1e-3` is a number, `on` and `12:30` are text, `010` is ten.

PyYAML resolves YAML 1.1, where these are a string, a boolean, 750 and eight. Editors follow YAML 1.2, and a sweep must
mean the same in both. Infinities, NaN and integers beyond 64 bits are refused, because JSON, and with it the identity
of a trial, cannot represent them.
"""

from __future__ import annotations

import math
import re

__all__ = ["CORE_TAGS", "Scalar", "resolve_scalar"]

Scalar = None | bool | int | float | str

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z")
_LARGEST = 2**63 - 1
_MAX_DIGITS = 400

_PREFIX = "tag:yaml.org,2002:"
CORE_TAGS: dict[str, type | tuple[type, ...]] = {
    _PREFIX + "null": type(None),
    _PREFIX + "bool": bool,
    _PREFIX + "int": int,
    _PREFIX + "float": (int, float),
    _PREFIX + "str": str,
}
"""Legal explicit tags of a scalar and the Python type of its value."""


def resolve_scalar(text: str, *, plain: bool = True, tag: str | None = None) -> Scalar:
    """Python value of a YAML scalar.

    Args:
        text: The scalar without its quotes.
        plain: Unquoted; a quoted scalar is a string.
        tag: Explicit tag, if there is one.

    Raises:
        ValueError: the scalar has no value, with a readable reason.
    """
    if tag is None or tag == "!":
        return _resolve_plain(text) if plain and tag is None else text
    if tag not in CORE_TAGS:
        raise ValueError(f"the tag {tag.replace(_PREFIX, '!!')!r} is not supported")
    if CORE_TAGS[tag] is str:
        return text
    value = _resolve_plain(text)
    legal = CORE_TAGS[tag]
    if not isinstance(value, legal) or (isinstance(value, bool) and legal is not bool):
        raise ValueError(f"{text!r} is not a value of {tag.replace(_PREFIX, '!!')}")
    return float(value) if tag.endswith("float") and isinstance(value, int) else value


def _resolve_plain(text: str) -> Scalar:
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _NOT_FINITE.match(text):
        raise ValueError(f"{text} is not a finite number")
    if (number := _resolve_number(text)) is not None:
        return number
    return text


def _resolve_number(text: str) -> int | float | None:
    whole = _INT.match(text), _OCTAL.match(text), _HEX.match(text)
    if not any(whole) and not _FLOAT.match(text):
        return None
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} characters is too long")
    if any(whole):
        # base 10 for `010`: leading zeros have no meaning in YAML 1.2
        number = int(text, 10 if whole[0] else 0)
        if abs(number) > _LARGEST:
            raise ValueError(f"{text} is too large for a whole number of 64 bits")
        return number
    decimal = float(text)
    if math.isinf(decimal):
        raise ValueError(f"{text} is too large for a number")
    return decimal
