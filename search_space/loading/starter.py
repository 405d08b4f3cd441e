"""Template of a commented sweep file, written by `archsweep init`."""

from __future__ import annotations

import re
from importlib.resources import files

from search_space.parsing.errors import Problem, SpecError
from search_space.schema.sweep import NAME_PATTERN

__all__ = ["template"]

_FILE = files("search_space") / "starter.yaml"


def template(name: str) -> str:
    """Text of a complete sweep file with this name."""
    if not re.fullmatch(NAME_PATTERN, name) or len(name) > 100:
        message = f"cannot name a sweep {name!r}"
        hint = "letters, digits, `-`, `_` and `.`, at most 100, a letter or digit first; it names the folder of the run"
        raise SpecError(Problem(message, hint=hint))
    return _FILE.read_text(encoding="utf-8").replace("my_sweep", name)
