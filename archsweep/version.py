"""The version of this copy of archsweep, also of a checkout that nothing has installed."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

__all__ = ["version"]

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def version() -> str:
    """The version from the metadata of the installation; of a bare checkout, from its pyproject.toml."""
    try:
        return importlib.metadata.version("archsweep")
    except importlib.metadata.PackageNotFoundError:
        pass
    try:
        found = re.search(r'^version = "(.+)"$', _PROJECT.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else "unknown"
