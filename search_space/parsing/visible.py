"""Text of which every character can be seen: anybody may name a sweep, and a terminal obeys control characters."""

from __future__ import annotations

import json
import unicodedata

__all__ = ["visible", "visible_json", "visible_lines"]


def visible(text: str) -> str:
    """The text with line breaks and every kind of space as a space, and what cannot be seen as its escape."""
    if text.isprintable():  # no line break, and no space but the plain one
        return text
    return "".join(_shown(character) for character in " ".join(text.splitlines()))


def visible_lines(text: str) -> str:
    """As `visible`, but line feeds stay: for our own words with somebody else's between them."""
    return "\n".join(visible(line) for line in text.split("\n"))


def visible_json(text: str) -> str:
    """JSON of equal meaning: what cannot be seen stands only inside its strings, and there it may be an escape."""
    return "".join(
        character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1] for character in text
    )


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode()  # control, bidirectional, private, surrogate, ...
