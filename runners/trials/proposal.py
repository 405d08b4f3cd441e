"""Proposals of a search and their results. A proposal is a variant: a trial for every seed of the sweep."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from results.store.records import TrialRecord
from runners.trials.objectives import objective, objective_values
from search_space import Sweep, Variant

__all__ = ["Proposal", "ProposalResult", "proposal_result"]


@dataclass(frozen=True)
class Proposal:
    """Proposal of a search. With a `reason` it must not be trained; then even `variant` may be missing."""

    number: int
    params: Mapping[str, Any]
    variant: Variant | None
    reason: str = ""


@dataclass(frozen=True)
class ProposalResult:
    """Result of a proposal: the objectives if it was completed, and the metric at its steps.

    With one seed a step is an epoch; else step n holds the mean over the first n seeds.
    """

    state: Literal["completed", "pruned", "failed", "infeasible"]
    values: Sequence[float] = ()
    steps: Mapping[int, float] = field(default_factory=dict)


def proposal_result(records: Sequence[TrialRecord], sweep: Sweep) -> ProposalResult | None:
    """Result of a proposal with these records, in the order of its seeds; None while one of them is missing."""
    statuses = {record.status for record in records}
    if "infeasible" in statuses:
        return ProposalResult("infeasible")
    if "failed" in statuses:
        return ProposalResult("failed")
    steps = _steps(records, sweep)
    if "pruned" in statuses:
        return ProposalResult("pruned", steps=steps)
    if len(records) < len(sweep.seeds) or statuses != {"completed"}:
        return None
    values = objective_values(records, sweep)
    return ProposalResult("failed") if values is None else ProposalResult("completed", values, steps)


def _steps(records: Sequence[TrialRecord], sweep: Sweep) -> dict[int, float]:
    if len(sweep.seeds) == 1:
        found = {int(point["epoch"]): objective(point, sweep.metric) for record in records for point in record.curve}
        return {step: value for step, value in found.items() if value is not None}
    ends = [objective(record.metrics, sweep.metric) for record in records if record.status == "completed"]
    known = [value for value in ends if value is not None]
    return {number: statistics.fmean(known[:number]) for number in range(1, len(known) + 1)}
