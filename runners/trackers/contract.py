"""What a tracker is told, and what it has to do with it. Nothing here or in the trackers knows of the driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from results.store.records import TrialRecord
from results.store.run_layout import RunDir
from results.views.columns import flattened

__all__ = ["RunEnd", "TrackedRun", "TrackedSweep", "Tracker", "run_end", "run_of"]

_MESSAGE_LENGTH = 500


@dataclass(frozen=True)
class TrackedSweep:
    """What the runs of one run directory have in common. `token` tells this directory from others of the same sweep;
    `settings` is the resolved sweep."""

    name: str
    run_dir: RunDir
    token: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrackedRun:
    """One trial as trackers know it.

    Attributes:
        id: the same for every start of this attempt, so that an interrupted trial continues its run.
        config: path -> value of the TrialSpec, and the names by which runs are grouped.
        role: `retune` for trials that tune a variant.
        spec: the TrialSpec as it is, with its sections.
        params: what a search proposed, by Optuna's names.
    """

    id: str
    name: str
    config: Mapping[str, Any]
    role: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunEnd:
    """How a trial ended. `numbers` are final metrics and costs, `words` the status and what explains it."""

    status: str
    epochs: int
    numbers: Mapping[str, float]
    words: Mapping[str, str]


class Tracker(Protocol):
    """The contract. Any exception means that the tracker is left out from then on.

    Attributes:
        notes: what the user should know, as lines; read once after the constructor.
    """

    notes: Sequence[str]

    def start(self, run: TrackedRun) -> int:
        """Opens the run, or opens it again; returns the last epoch it holds already (0: none)."""
        ...

    def epoch(self, run: TrackedRun, epoch: int, metrics: Mapping[str, float]) -> None:
        """Metrics after an epoch, counted from 1. Every epoch comes once and in order."""
        ...

    def end(self, run: TrackedRun, ending: RunEnd) -> None:
        """The trial has a record. A `preempted` one may start again."""
        ...

    def interrupt(self, run: TrackedRun) -> None:
        """The driver ends while the trial runs; it will start again."""
        ...

    def table(self, files: Sequence[Path]) -> None:
        """The tables of the sweep so far; later ones replace them."""
        ...

    def close(self) -> None:
        """Everything is to be on disk, or sent, when this returns."""
        ...


def run_of(told: Mapping[str, Any], sweep: TrackedSweep) -> TrackedRun:
    """The run of a trial, from the fields of its record that tell what is trained (see `Delivery.end`)."""
    attempt = int(told["attempt"])
    name = f"{told['variant']} seed={told['seed']}" + (f" attempt={attempt}" if attempt > 1 else "")
    spec = {path: value for path, value in flattened(told["spec"]).items() if value is not None}
    names = {key: told[key] for key in ("variant", "variant_id", "trial_id", "attempt")}
    return TrackedRun(
        id=f"{sweep.token}-{told['trial_id']}-{attempt}",
        name=name,
        config={**spec, **names, "sweep": sweep.name},
        role=str(told["role"]),
        spec=told["spec"],
        params=told.get("params", {}),
    )


def run_end(record: TrialRecord) -> RunEnd:
    """What trackers show of a record beside its curve."""
    costs = ("params_m", "gmacs", "train_seconds", "total_seconds", "resumed_from_epoch")
    numbers = {**record.metrics, **{key: getattr(record, key) for key in costs}}
    failure = f"{record.failure.type}: {record.failure.message}" if record.failure else ""
    facts = {"failure": failure[:_MESSAGE_LENGTH], "cached_from": record.cached_from, "device": record.device}
    return RunEnd(
        status=record.status,
        epochs=record.epochs,
        numbers={key: float(value) for key, value in numbers.items() if value is not None},
        words={"status": record.status, **{key: text for key, text in facts.items() if text}},
    )
