"""Escaping of invisible characters in untrusted text: a terminal would interpret control characters."""

from __future__ import annotations

import json
import unicodedata

__all__ = ["visible", "visible_json", "visible_lines"]


def visible(text: str) -> str:
    """Printable text on one line: line breaks and Unicode spaces become spaces, invisible characters escapes."""
    if text.isprintable():  # has no line break and no space other than U+0020
        return text
    return "".join(_shown(character) for character in " ".join(text.splitlines()))


def visible_lines(text: str) -> str:
    """Printable text that keeps its line feeds: for messages that quote untrusted text."""
    return "\n".join(visible(line) for line in text.split("\n"))


def visible_json(text: str) -> str:
    """Equivalent JSON with escapes for invisible characters, which JSON allows only inside of strings."""
    return "".join(
        character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1] for character in text
    )


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode()  # control, bidirectional, private, surrogate, ...
