"""The driver's answers to a group of trials that one worker trains: which members are to stop, and which have ended.

Tune answers a worker with "go on" or "stop" only, for all that it trains. So the rest of the answer is a file in the
run directory, which workers see. It is written before Tune lets the worker go on, and names the report that it answers:
a worker waits for that name, so that a file system that shows files late delays a decision and loses none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from results.store.files import atomic_write

__all__ = ["GroupAnswers", "ended_members", "stopped_members"]

_LOOK_EVERY_SECONDS = 0.02
_LONGEST_WAIT = 600.0


class GroupAnswers:
    """The driver's side. A file of an earlier driver is removed.

    Args:
        path: of the file of this group.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ended: list[str] = []
        path.unlink(missing_ok=True)

    def answer(self, report: str, stop: Collection[str]) -> None:
        """Answer a report: these members are to stop."""
        self._write(report, stop)

    def note_end(self, key: str) -> None:
        """Note that a member has ended: another worker that starts the group again must not train it."""
        self._ended.append(key)
        self._write("", ())

    def close(self) -> None:
        self._path.unlink(missing_ok=True)

    def _write(self, report: str, stop: Collection[str]) -> None:
        content = {"report": report, "stop": sorted(stop), "ended": self._ended}
        atomic_write(self._path, json.dumps(content))


def ended_members(path: Path) -> set[str]:
    """The worker's side: members that have ended before it began."""
    return set(_read(path).get("ended", ()))


def stopped_members(path: Path, report: str) -> list[str]:
    """The worker's side: the members that are to stop by the answer to its report.

    Raises:
        TimeoutError: no answer comes, so that the worker does not see the driver's files.
    """
    until = time.monotonic() + _LONGEST_WAIT
    while time.monotonic() < until:
        found = _read(path)
        if found.get("report") == report:
            return list(found["stop"])
        time.sleep(_LOOK_EVERY_SECONDS)
    raise TimeoutError(f"the driver's answer did not appear in {path.parent}")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
