"""The contract of trackers: the data that they get and the methods that they implement. Independent of the driver."""

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
    """Data common to the runs of one run directory. `token` identifies this directory among others of the same sweep;
    `settings` is the resolved sweep."""

    name: str
    run_dir: RunDir
    token: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrackedRun:
    """One trial as trackers store it.

    Attributes:
        id: the same for every start of this attempt, so that an interrupted trial continues its run.
        config: path -> value of the TrialSpec, and the names by which runs are grouped.
        role: `retune` for trials that tune a variant.
        spec: the TrialSpec unflattened, with its sections.
        params: proposal of a search, by Optuna's names.
    """

    id: str
    name: str
    config: Mapping[str, Any]
    role: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunEnd:
    """The end of a trial. `numbers` are final metrics and costs, `words` the status and its explanation."""

    status: str
    epochs: int
    numbers: Mapping[str, float]
    words: Mapping[str, str]


class Tracker(Protocol):
    """Contract of a tracker. Any exception means that the tracker is left out from then on.

    Attributes:
        notes: messages for the user, as lines; read once after the constructor.
    """

    notes: Sequence[str]

    def start(self, run: TrackedRun) -> int:
        """Open or reopen the run; return the last epoch that it has already (0: none)."""
        ...

    def epoch(self, run: TrackedRun, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of an epoch, counted from 1. Every epoch comes once and in order."""
        ...

    def end(self, run: TrackedRun, ending: RunEnd) -> None:
        """End the run: the trial has a record. A `preempted` one may start again."""
        ...

    def interrupt(self, run: TrackedRun) -> None:
        """Mark the run as interrupted: the driver ends while the trial runs; it will start again."""
        ...

    def table(self, files: Sequence[Path]) -> None:
        """Store the present tables of the sweep; later ones replace them."""
        ...

    def close(self) -> None:
        """Flush: everything must be on disk, or sent, when this returns."""
        ...


def run_of(fields: Mapping[str, Any], sweep: TrackedSweep) -> TrackedRun:
    """The run of a trial, from the fields of its record that identify and define it (see `Delivery.end`)."""
    attempt = int(fields["attempt"])
    name = f"{fields['variant']} seed={fields['seed']}" + (f" attempt={attempt}" if attempt > 1 else "")
    spec = {path: value for path, value in flattened(fields["spec"]).items() if value is not None}
    names = {key: fields[key] for key in ("variant", "variant_id", "trial_id", "attempt")}
    return TrackedRun(
        id=f"{sweep.token}-{fields['trial_id']}-{attempt}",
        name=name,
        config={**spec, **names, "sweep": sweep.name},
        role=str(fields["role"]),
        spec=fields["spec"],
        params=fields.get("params", {}),
    )


def run_end(record: TrialRecord) -> RunEnd:
    """The end of the run of a record: what trackers show beside its curve."""
    costs = ("params_m", "trainable_params_m", "gmacs", "train_seconds", "total_seconds", "resumed_from_epoch")
    numbers = {**record.metrics, **{key: getattr(record, key) for key in costs}}
    failure = f"{record.failure.type}: {record.failure.message}" if record.failure else ""
    facts = {"failure": failure[:_MESSAGE_LENGTH], "cached_from": record.cached_from, "device": record.device}
    return RunEnd(
        status=record.status,
        epochs=record.epochs,
        numbers={key: float(value) for key, value in numbers.items() if value is not None},
        words={"status": record.status, **{key: text for key, text in facts.items() if text}},
    )
