"""The command `archsweep`. Heavy libraries are imported inside the verbs that need them: light ones answer at once."""

from __future__ import annotations

from runners.cli.app import main

__all__ = ["main"]
