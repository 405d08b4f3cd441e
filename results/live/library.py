"""The runs of a folder with their views, kept between requests; runs that disappear are forgotten."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from results.live.found_runs import FoundRuns, find_runs
from results.live.remade import Remade, Seen, Workers
from results.live.run_state import RunState
from results.live.watched_run import Subjects, WatchedRun

__all__ = ["Library", "Shelf"]

_LONGEST_WAIT = 1.5
_FIRST_WAIT = 10.0


@dataclass(frozen=True)
class Shelf:
    """One look at the folder: its runs in the order of their names, each with its latest state."""

    found: FoundRuns
    runs: Sequence[tuple[WatchedRun, Seen[RunState]]]


class Library:
    """The runs of a folder.

    Args:
        subjects: as for `WatchedRun`.
        pause: seconds between two searches for runs.
    """

    def __init__(self, folder: Path, subjects: Subjects, *, pause: float = 2.0) -> None:
        self.folder = folder
        self._subjects = subjects
        self._lock = threading.Lock()
        self._watched: dict[str, WatchedRun] = {}
        # A state waits for no table and a table for no figures of another run; two tables would only take turns.
        self._readers, self._makers, self._drawers = Workers(2), Workers(1), Workers(1)
        self._found: Remade[FoundRuns] = Remade(
            lambda: int(time.time() / pause), lambda: find_runs(folder), self._readers
        )

    def shelf(self) -> Shelf:
        """All runs. Waits a moment for states that were never read; those of large runs may be absent then."""
        deadline = time.monotonic() + _LONGEST_WAIT
        found = self._look() or FoundRuns({}, is_whole=False)
        watched = self._watch(found)
        seen = [run.state.seen() for run in watched]
        for index, run in enumerate(watched):
            wait = deadline - time.monotonic()
            if not seen[index].version and wait > 0:
                seen[index] = run.state.seen(wait)
        return Shelf(found, list(zip(watched, seen, strict=True)))

    def run(self, key: str) -> WatchedRun | None:
        """The run of this key; None where there is none (any more)."""
        found = self._look()
        if found is None or key not in found.runs:
            return None
        self._watch(found)
        with self._lock:
            return self._watched.get(key)

    def _look(self) -> FoundRuns | None:
        seen = self._found.seen()
        # Only the first search is waited for: later ones go on behind the answers.
        return seen.value if seen.version else self._found.seen(_FIRST_WAIT).value

    def _watch(self, found: FoundRuns) -> list[WatchedRun]:
        with self._lock:
            for key in self._watched.keys() - found.runs.keys():
                del self._watched[key]
            for key, run in found.runs.items():
                if key not in self._watched:
                    self._watched[key] = WatchedRun(
                        run, self._subjects, readers=self._readers, makers=self._makers, drawers=self._drawers
                    )
            return [self._watched[key] for key in found.runs if key in self._watched]
