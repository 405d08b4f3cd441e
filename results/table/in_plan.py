"""Which trials of a run belong to its present plan: those that the table shows, and those of them that still run.

A run directory keeps what earlier forms of its sweep trained, often under the same name of a variant. Views and tidy
data leave such trials out by default, so that a mean over their rows is that of the table.
"""

from __future__ import annotations

from collections.abc import Set

from results.store.progress import UnfinishedTrial
from results.store.run import Run
from results.table.planned import planned_trials

__all__ = ["blocks_by_variant", "trials_in_plan"]


def trials_in_plan(run: Run) -> Set[str]:
    """Ids of the trials of the present plan that ended or began; trials that tuned a variant are none of them."""
    planned = planned_trials(run.plan, run.deciding.values())
    ended = {record.trial_id for seeds in planned.values() for record in seeds.values()}
    begun = {record.trial_id: record.variant_id for record in run.records if not record.role}
    return ended | {trial.trial_id for trial in run.unfinished if _is_planned(trial, run, begun.get(trial.trial_id))}


def _is_planned(trial: UnfinishedTrial, run: Run, variant_id: str | None) -> bool:
    if run.tunes_a_variant(trial.seed) or trial.seed not in run.plan.seeds:
        return False
    if run.plan.design == "search":
        return True
    variants = [variant for variant in run.plan.variants if not variant.dropped]
    if variant_id is not None:  # it began, failed or was preempted, and began again
        return any(variant.variant_id == variant_id for variant in variants)
    return any(variant.name == trial.variant for variant in variants)


def blocks_by_variant(run: Run) -> dict[str, str]:
    """Variant id -> name of its block in the plan; a record that was taken over from another run need not know it."""
    return {variant.variant_id: variant.block for variant in run.plan.variants}
