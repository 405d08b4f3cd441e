"""Names as one line of visible characters: a sweep may be named by anybody, and a terminal obeys control characters."""

from __future__ import annotations

import unicodedata

__all__ = ["visible"]


def visible(text: str) -> str:
    """The text with line breaks as spaces and everything invisible (control, bidirectional, ...) as its escape."""
    return "".join(_shown(character) for character in " ".join(text.splitlines()))


def _shown(character: str) -> str:
    # C*: control, format, surrogate, private, unassigned. Zl, Zp: line and paragraph separators.
    category = unicodedata.category(character)
    if category.startswith("C") or category in ("Zl", "Zp"):
        return character.encode("unicode_escape").decode()
    return character
