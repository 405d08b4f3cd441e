"""`progress.jsonl`: what happens inside the trials while they run, for other shells. A view that may be lost.

One event a line: {"t": seconds since 1970, "trial_id", "variant", "seed", "event": "start" | "place" | "epoch" | "end",
"metrics": {"epoch": 3, "top1": 91.2}, "worker": "node7", "gpus": ["0", "1"]}, without what is empty. No result depends
on it, so lines are flushed and not synced, and a reader counts what it cannot read instead of refusing it. What a
finished trial was is told by the ledger alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from results.durable_files import write_errors_in_words
from results.heads import Attempt

__all__ = ["PROGRESS_NAME", "ProgressEvent", "ProgressWriter", "UnfinishedTrial", "read_progress", "unfinished_trials"]

PROGRESS_NAME = "progress.jsonl"
_EVENTS = ("start", "place", "epoch", "end")


@dataclass(frozen=True)
class ProgressEvent:
    """One line.

    Attributes:
        metrics: of an `epoch` event: an entry of the trial's curve, `epoch` included.
        worker: of a `place` event: the name of the host on which the trial has begun to run.
        gpus: of a `place` event: the GPUs that it has there, by CUDA's numbers or ids.
    """

    t: float
    trial_id: str
    variant: str
    seed: int
    event: str
    metrics: dict[str, float] = field(default_factory=dict)
    worker: str = ""
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True)
class UnfinishedTrial:
    """A trial that began and has no record for it yet: it runs, or its driver was stopped.

    Attributes:
        worker: the host that it runs on; empty while it waits for room, or where nobody told.
    """

    trial_id: str
    variant: str
    seed: int
    started: float
    last_seen: float
    curve: tuple[dict[str, float], ...] = ()
    worker: str = ""
    has_ended: bool = False
    gpus: tuple[str, ...] = ()

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return int(self.curve[-1]["epoch"]) if self.curve else 0

    @property
    def place(self) -> str:
        """Host and GPUs for people, `node7 GPU 0,1`; empty where nothing is known."""
        return " ".join(
            [*([self.worker] if self.worker else []), *(["GPU " + ",".join(self.gpus)] if self.gpus else [])]
        )


class ProgressWriter:
    """Appends events; a context manager. The caller holds the run's lock."""

    def __init__(self, run_dir: str | Path) -> None:
        self.path = Path(run_dir) / PROGRESS_NAME
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> ProgressWriter:
        with write_errors_in_words(self.path):
            self._stream = open(self.path, "a+b")
            if self._stream.tell():
                self._stream.seek(-1, 2)
                if self._stream.read(1) != b"\n":  # torn by a killed driver: our first event must not glue to it
                    self._stream.write(b"\n")
        return self

    def __exit__(self, *exception: object) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def append(self, event: ProgressEvent) -> None:
        """Writes the event so that other shells see it at once."""
        assert self._stream is not None, "append outside of the `with` block"
        assert event.event in _EVENTS, event.event
        with write_errors_in_words(self.path):
            line = {name: value for name, value in vars(event).items() if value not in ("", (), {})}
            self._stream.write(json.dumps(line).encode() + b"\n")
            self._stream.flush()


def read_progress(path: str | Path) -> tuple[tuple[ProgressEvent, ...], int]:
    """The events in the order of the file, and how many lines could not be read. No file: no events."""
    try:
        data = Path(path).read_bytes()
    except OSError:
        return (), 0
    events: list[ProgressEvent] = []
    unreadable = 0
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            events.append(_event(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            unreadable += 1
    return tuple(events), unreadable


def unfinished_trials(events: Iterable[ProgressEvent], deciding: Mapping[str, Attempt]) -> tuple[UnfinishedTrial, ...]:
    """Trials that began and have no record of it, in the order of their latest start.

    Args:
        deciding: trial id -> its deciding record. A failed record may be followed by a retry; every other one is final.
    """
    starts: dict[str, ProgressEvent] = {}
    last: dict[str, ProgressEvent] = {}
    curves: dict[str, list[dict[str, float]]] = {}
    places: dict[str, ProgressEvent] = {}
    for event in events:
        if event.event == "start":
            starts.pop(event.trial_id, None)  # the latest start decides the order
            starts[event.trial_id] = event
            curves[event.trial_id] = []
            places[event.trial_id] = event
        elif event.event == "place":
            places[event.trial_id] = event
        elif event.event == "epoch" and event.trial_id in starts and "epoch" in event.metrics:
            curves[event.trial_id].append(event.metrics)
        last[event.trial_id] = event
    return tuple(
        UnfinishedTrial(
            trial_id=name,
            variant=start.variant,
            seed=start.seed,
            started=start.t,
            last_seen=last[name].t,
            curve=tuple(curves[name]),
            worker=places[name].worker,
            has_ended=last[name].event == "end",
            gpus=places[name].gpus,
        )
        for name, start in starts.items()
        if _is_unfinished(start, last[name], deciding.get(name))
    )


def _is_unfinished(start: ProgressEvent, last: ProgressEvent, record: Attempt | None) -> bool:
    if record is None:
        return True
    if record.status != "failed" or last.event == "end" or not record.finished_at:
        return False
    return start.t > datetime.fromisoformat(record.finished_at).timestamp()


def _metrics(found: Mapping[str, Any]) -> dict[str, float]:
    metrics = {name: float(value) for name, value in found.items()}
    if not 0 <= metrics.get("epoch", 0) < math.inf:
        raise ValueError(metrics["epoch"])
    return metrics


def _text(found: Any) -> str:
    return str(found).encode(errors="backslashreplace").decode()  # half a character, which no file could hold


def _event(line: dict[str, Any]) -> ProgressEvent:
    if line["event"] not in _EVENTS:
        raise ValueError(line["event"])
    return ProgressEvent(
        t=float(line["t"]),
        trial_id=_text(line["trial_id"]),
        variant=_text(line["variant"]),
        seed=int(line["seed"]),
        event=line["event"],
        metrics=_metrics(line.get("metrics") or {}),
        worker=_text(line.get("worker") or ""),
        gpus=tuple(map(str, line.get("gpus") or ())),
    )
