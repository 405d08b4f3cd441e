"""Trials of a design whose results decide which further ones are trained: rounds of seeds, and paths.

Both are functions of the records, so that views of a run and its driver ask for the same trials, and a driver that was
killed goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Mapping

from results.plan.run_plan import RunPlan
from results.store.record_summary import AnyRecord
from results.table.asked.path import asked_of_path, most_asked, walk

__all__ = ["asks_by_results", "num_trials_asked", "num_trials_at_most", "seeds_asked"]


def asks_by_results(plan: RunPlan) -> bool:
    """Whether the results so far decide which trials of a fixed design are trained."""
    return plan.rounds is not None or plan.path is not None


def seeds_asked(plan: RunPlan, trials: Mapping[str, Mapping[int, AnyRecord]]) -> dict[str, tuple[int, ...]]:
    """The seeds that every variant is asked for by the results so far: variant id -> seeds in the order of the plan.

    Args:
        trials: deciding records of the planned trials: variant id -> seed -> record.
    """
    if plan.path is not None:
        return asked_of_path(plan, walk(plan, trials))
    if plan.rounds is not None:
        from results.table.asked.rounds import standings_of_plan  # here: the tests are not imported for a plan without

        found = standings_of_plan(plan, trials)
        return {key: tuple(plan.seeds[: each.num_seeds]) for key, each in found.items()}
    return {each.variant_id: tuple(plan.seeds) for each in plan.variants if not each.dropped}


def num_trials_asked(plan: RunPlan, trials: Mapping[str, Mapping[int, AnyRecord]]) -> int:
    """Trials of a fixed design: all, or those that are asked for by the results so far; arguments as `seeds_asked`."""
    return sum(len(set(seeds)) for seeds in seeds_asked(plan, trials).values())


def num_trials_at_most(plan: RunPlan, trials: Mapping[str, Mapping[int, AnyRecord]]) -> int:
    """Trials of a fixed design where every row has all seeds; of a path those of the longest one by the results so far;
    arguments as `seeds_asked`."""
    if plan.path is not None:
        return round(most_asked(plan, walk(plan, trials), lambda *_: 1.0))
    return sum(not variant.dropped for variant in plan.variants) * len(set(plan.seeds))
