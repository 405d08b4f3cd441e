"""`archsweep guide`: a short guide for scripts and assistants. Its commands are executed by a test."""

from __future__ import annotations

from importlib.resources import files

__all__ = ["guide"]


def guide() -> None:
    """Print a short guide for scripts and assistants: verbs, exit codes, JSON, files of a run, Python."""
    print(files("runners.cli").joinpath("guide.md").read_text(encoding="utf-8"), end="")
