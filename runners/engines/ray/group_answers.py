"""The driver's answers to a group of trials that one worker trains: which members are to stop, which have ended, and
which trials have joined.

Tune answers a worker with "go on" or "stop" only, for all that it trains. So the rest of the answer is a file in the
run directory, which workers see. It is written before Tune lets the worker go on, and names the report that it answers:
a worker waits for that name, so that a file system that shows files late delays a decision and loses none. It has all
that have ended or joined, not the latest only: another worker may have to start the group again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from results.store.files import atomic_write

__all__ = ["Answer", "GroupAnswers", "answer_to", "latest_answer"]

_LOOK_EVERY_SECONDS = 0.02
_LONGEST_WAIT = 600.0


@dataclass(frozen=True)
class Answer:
    """What a worker reads.

    Attributes:
        stop: members that are to stop.
        ended: members that have ended.
        joined: specs, as plain values, of all trials that have joined the group and have not ended, by their ids.
    """

    stop: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    joined: dict[str, dict[str, Any]] = field(default_factory=dict)


class GroupAnswers:
    """The driver's side. A file of an earlier driver is removed.

    Args:
        path: of the file of this group.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ended: list[str] = []
        self._joined: dict[str, dict[str, Any]] = {}
        path.unlink(missing_ok=True)

    def answer(
        self, report: str, stop: Collection[str], joined: Mapping[str, dict[str, Any]] = MappingProxyType({})
    ) -> None:
        """Answer a report.

        Args:
            stop: members that are to stop.
            joined: specs, as plain values, of the trials that join the group now, by their ids.
        """
        self._joined |= joined
        self._write(report, stop)

    def note_end(self, key: str) -> None:
        """Note that a member has ended: another worker that starts the group again must not train it."""
        self._ended.append(key)
        self._joined.pop(key, None)
        self._write("", ())

    def close(self) -> None:
        self._path.unlink(missing_ok=True)

    def _write(self, report: str, stop: Collection[str]) -> None:
        content = {"report": report, "stop": sorted(stop), "ended": self._ended, "joined": self._joined}
        atomic_write(self._path, json.dumps(content))


def latest_answer(path: Path) -> Answer:
    """The worker's side: who has ended, and joined, before it begins."""
    return _answer_of(_read(path))


def answer_to(path: Path, report: str) -> Answer:
    """The worker's side: the answer to its report.

    Raises:
        TimeoutError: no answer comes, so that the worker does not see the driver's files.
    """
    until = time.monotonic() + _LONGEST_WAIT
    while time.monotonic() < until:
        found = _read(path)
        if found.get("report") == report:
            return _answer_of(found)
        time.sleep(_LOOK_EVERY_SECONDS)
    raise TimeoutError(f"the driver's answer did not appear in {path.parent}")


def _answer_of(content: Mapping[str, Any]) -> Answer:
    return Answer(**{name: value for name, value in content.items() if name != "report"})


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
