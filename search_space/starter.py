"""The commented sweep that `archsweep init` writes to start from."""

from __future__ import annotations

import re
from pathlib import Path

from search_space.errors import Problem, SpecError
from search_space.sweep import NAME_PATTERN

__all__ = ["template"]

_FILE = Path(__file__).with_name("starter.yaml")


def template(name: str) -> str:
    """A sweep named `name` that loads and runs as it is."""
    if not re.fullmatch(NAME_PATTERN, name) or len(name) > 100:
        message = f"cannot name a sweep {name!r}"
        hint = "letters, digits, `-`, `_` and `.`, at most 100, a letter or digit first; it names the folder of the run"
        raise SpecError(Problem(message, hint=hint))
    return _FILE.read_text(encoding="utf-8").replace("my_sweep", name)
