"""The command `archsweep`. Heavy libraries are imported inside the verbs that need them: light ones answer at once."""

from __future__ import annotations

from archsweep import own_packages  # noqa: F401 - before the rest: `python -m runners.cli` comes in here
from runners.cli.app import main

__all__ = ["main"]
