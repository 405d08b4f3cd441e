"""`progress.jsonl`: events of running trials, for display in other shells. A view that may be lost.

One event a line: {"t": seconds since 1970, "trial_id", "variant", "seed", "event": "start" | "place" | "epoch" | "end",
"metrics": {"epoch": 3, "top1": 91.2}, "worker": "node7", "gpus": ["0", "1"]}, without what is empty. No result depends
on it, so lines are flushed and not synced, and a reader counts lines that it cannot read instead of refusing them. The
outcome of a finished trial is in the ledger alone. Of finished trials the file keeps the latest events only, so that it
does not grow with a run (progress_writer.py); its first line is then {"event": "cut", "t": ...}: it is complete from
there on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results.store.record_summary import Attempt

__all__ = [
    "EVENTS",
    "ProgressEvent",
    "UnfinishedTrial",
    "events_in",
    "read_progress",
    "unfinished_trials",
]

EVENTS = ("start", "place", "epoch", "end", "cut")


_LATEST = 1e11  # seconds: the year 5138; later times are invalid


@dataclass(frozen=True)
class ProgressEvent:
    """One event, a line of the file.

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
        worker: the host that it runs on; empty while it waits for room, or where it is unknown.
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
        """Host and GPUs as text, `node7 GPU 0,1`; empty where both are unknown."""
        return " ".join(
            [*([self.worker] if self.worker else []), *(["GPU " + ",".join(self.gpus)] if self.gpus else [])]
        )


def read_progress(path: str | Path) -> tuple[tuple[ProgressEvent, ...], int]:
    """The events in the order of the file, and the number of unreadable lines. No file: no events."""
    try:
        with open(path, "rb") as stream:
            found = [event for _, event in events_in(stream)]
    except OSError:
        return (), 0
    events = tuple(event for event in found if event is not None)
    return events, len(found) - len(events)


def events_in(lines: Iterable[bytes]) -> Iterator[tuple[bytes, ProgressEvent | None]]:
    """The lines that are not blank, each with its event; None for an unreadable line."""
    for line in lines:
        if not line.strip():
            continue
        try:
            yield line, _event(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            yield line, None


def unfinished_trials(events: Iterable[ProgressEvent], deciding: Mapping[str, Attempt]) -> tuple[UnfinishedTrial, ...]:
    """Trials that began and have no record of it, in the order of their latest start.

    Args:
        deciding: trial id -> its deciding record. A failed record may be followed by a retry; every other one is final.
    """
    starts: dict[str, ProgressEvent] = {}
    last: dict[str, ProgressEvent] = {}
    curves: dict[str, list[dict[str, float]]] = {}
    places: dict[str, ProgressEvent] = {}
    ended: set[str] = set()
    again: dict[str, bool] = {}
    is_cut = False
    for event in events:
        if event.event == "cut":
            is_cut = True
        elif event.event == "start":
            again[event.trial_id] = is_cut or event.trial_id in ended
            starts.pop(event.trial_id, None)  # the latest start decides the order
            starts[event.trial_id] = event
            curves[event.trial_id] = []
            places[event.trial_id] = event
        elif event.event == "place":
            places[event.trial_id] = event
        elif event.event == "epoch" and event.trial_id in starts and "epoch" in event.metrics:
            curves[event.trial_id].append(event.metrics)
        elif event.event == "end":
            ended.add(event.trial_id)
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
        if _is_unfinished(last[name], deciding.get(name), is_again=again[name])
    )


def _is_unfinished(last: ProgressEvent, record: Attempt | None, *, is_again: bool) -> bool:
    """Whether the trial is unfinished, by the order of the events, not their times: clocks may be set back.

    Args:
        is_again: the trial had ended before its latest start, or may have: the file may lack its end.
    """
    if record is None:
        return True
    return record.status == "failed" and last.event != "end" and is_again


def _metrics(found: Mapping[str, Any]) -> dict[str, float]:
    metrics = {name: float(value) for name, value in found.items()}
    if not 0 <= metrics.get("epoch", 0) < math.inf:
        raise ValueError(metrics["epoch"])
    return metrics


def _text(found: Any) -> str:
    return str(found).encode(errors="backslashreplace").decode()  # an unpaired surrogate, which no file can hold


def _event(line: dict[str, Any]) -> ProgressEvent:
    if line["event"] not in EVENTS:
        raise ValueError(line["event"])
    if line["event"] == "cut":  # belongs to no trial
        line = {"trial_id": "", "variant": "", "seed": 0, **line}
    t = float(line["t"])
    if not abs(t) < _LATEST:
        raise ValueError(t)
    return ProgressEvent(
        t=t,
        trial_id=_text(line["trial_id"]),
        variant=_text(line["variant"]),
        seed=int(line["seed"]),
        event=line["event"],
        metrics=_metrics(line.get("metrics") or {}),
        worker=_text(line.get("worker") or ""),
        gpus=tuple(map(_text, line.get("gpus") or ())),
    )
