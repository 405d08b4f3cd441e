"""Names as one line of visible characters: a sweep may be named by anybody, and a terminal obeys control characters."""

from __future__ import annotations

import unicodedata

__all__ = ["visible"]


def visible(text: str) -> str:
    """The text with line breaks and every kind of space as a space, and what cannot be seen as its escape."""
    return "".join(_shown(character) for character in " ".join(text.splitlines()))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode()  # control, bidirectional, private, surrogate, ...
