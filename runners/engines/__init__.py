"""Engines: how the trials of a book get trained. Explicit table, loaded on use because Ray takes a second to import.

Contract: `run(book, *, run_dir, address)` trains everything `book.ask()` hands out, shows every epoch to
`book.report`, ends every trial with `book.finish`, and lets KeyboardInterrupt pass. A failing trial is a record, never
an exception.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runners.book import TrialBook

__all__ = ["ENGINES", "run_trials"]


def _ray(book: TrialBook, *, run_dir: Path, address: str | None) -> None:
    from runners.engines.ray_engine import run_on_ray

    run_on_ray(book, run_dir=run_dir, address=address)


def _in_process(book: TrialBook, *, run_dir: Path, address: str | None) -> None:
    from runners.engines.in_process import run_in_process

    run_in_process(book, run_dir=run_dir)


ENGINES: dict[str, Callable[..., None]] = {"in-process": _in_process, "ray": _ray}


def run_trials(engine: str, book: TrialBook, *, run_dir: Path, address: str | None = None) -> None:
    """Trains what is left in the book on the named engine."""
    ENGINES[engine](book, run_dir=run_dir, address=address)
