"""A trial in the driver: its assignment, its state while it runs, and the record of its result."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from results import Failure, TrialRecord
from results.plan.stored import Numerics
from runners.trials.outcome import Outcome
from runners.trials.proposal import Proposal
from search_space import TrialSpec, Variant, variant_id

__all__ = [
    "Assignment",
    "GroupAnswer",
    "Place",
    "RunningTrial",
    "TrialRole",
    "given_up_record",
    "infeasible_record",
    "record_of",
    "reused_record",
]

TrialRole = Literal["", "retune"]


@dataclass(frozen=True)
class Assignment:
    """A trial that is due for training.

    Attributes:
        attempt: 1 + number of earlier failed records of the trial.
        proposal: the search's proposal that the trial belongs to; None in a fixed design.
        session: id of this start of the driver.
        role: `retune` for a trial that tunes a variant; else empty.
        alone: it ran out of memory beside other trials, so it gets its device to itself.
        also: further trials that are measured in this one's training; they start and end with it.
        trained_by: of such a trial, the id of the one that trains; else empty.
        numerics: `fused` for a trial that trains with others of its shape as one stacked model.
    """

    trial_id: str
    spec: TrialSpec
    variant: Variant
    attempt: int = 1
    proposal: Proposal | None = None
    session: str = ""
    role: TrialRole = ""
    alone: bool = False
    also: tuple[Assignment, ...] = ()
    trained_by: str = ""
    numerics: Numerics = "single"


@dataclass(frozen=True)
class Place:
    """Host and GPUs of a trial; GPUs by CUDA's numbers or UUIDs."""

    host: str
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True)
class GroupAnswer:
    """What happens to a group after an epoch of its members.

    Attributes:
        stop: ids of the members that end as `pruned`.
        joined: trials that train with the others from now on.
    """

    stop: tuple[str, ...] = ()
    joined: tuple[Assignment, ...] = ()


@dataclass
class RunningTrial:
    """State of a trial that is being trained.

    Attributes:
        group: equal for trials that train together.
    """

    assignment: Assignment
    group: str = ""
    began: float = field(default_factory=time.monotonic)
    curve: list[dict[str, float]] = field(default_factory=list)
    pruned: bool = False
    lost_workers: list[str] = field(default_factory=list)
    resumed_from_epoch: int | None = None


def infeasible_record(assignment: Assignment, reason: str, cost: Mapping[str, float]) -> TrialRecord:
    """Record of a proposal whose model cannot be built or violates a requirement."""
    failure = Failure(type="Infeasible", message=reason)
    return _base_record(assignment).model_copy(update={"status": "infeasible", "failure": failure, **cost})


def given_up_record(assignment: Assignment, cost: Mapping[str, float]) -> TrialRecord:
    """Record of a trial that is not trained because its variant was given up: pruned at epoch 0."""
    return _base_record(assignment).model_copy(update={"status": "pruned", **cost})


def reused_record(assignment: Assignment, record: TrialRecord) -> TrialRecord:
    """Record of an equal trial that was trained elsewhere, under the names of this run."""
    names = ("variant", "changes", "number", "params", "role")
    own = _base_record(assignment)
    return record.model_copy(update={name: getattr(own, name) for name in names})


def record_of(running: RunningTrial, result: Outcome | Failure | None, cost: Mapping[str, float]) -> TrialRecord:
    """Record of a trial that ended. `result` is None if the engine stopped it on the pruner's decision."""
    update: dict[str, Any] = {
        "curve": running.curve,
        "epochs": len(running.curve),
        "resumed_from_epoch": running.resumed_from_epoch,
        "total_seconds": time.monotonic() - running.began,
        **cost,
    }
    if isinstance(result, Failure):
        update |= {"status": "failed", "failure": result}
    elif running.pruned or result is None or result.status == "pruned":
        update |= {"status": "pruned"}
    elif result.status == "preempted":
        update |= {"status": "preempted", "version": 2}
    else:
        update |= {
            "status": "completed",
            "metrics": dict(result.metrics),
            "correct": result.correct,
            "notes": list(result.notes),
        }
    if running.assignment.trained_by:
        update["total_seconds"] = 0.0  # the time until the end is that of the trial that trained
    if isinstance(result, Outcome):
        update |= {
            "train_seconds": result.train_seconds,
            "total_seconds": result.total_seconds,
            "device": result.device,
            "precision": result.precision,
            "host": result.host,
            **result.costs,
        }
    return _base_record(running.assignment).model_copy(update=update)


def _base_record(assignment: Assignment) -> TrialRecord:
    variant, proposal = assignment.variant, assignment.proposal
    return TrialRecord(
        trial_id=assignment.trial_id,
        variant_id=variant_id(assignment.spec),
        variant=variant.name,
        block=variant.block,
        changes=dict(variant.changes),
        seed=assignment.spec.seed,
        spec=assignment.spec.model_dump(mode="json"),
        status="failed",
        number=proposal.number if proposal else None,
        params=dict(proposal.params) if proposal else {},
        attempt=assignment.attempt,
        session=assignment.session,
        role=assignment.role,
        trained_by=assignment.trained_by,
        numerics=assignment.numerics,
        finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
