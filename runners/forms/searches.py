"""Whether the settings that a search proposes, or that `retune` tries, can train together.

A sampler that learns chooses the next setting by the results of those before. It is never asked earlier than it would
be by trials that train alone: only proposals that depend on no result, and the seeds of one proposal, are in a group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runners.trials.form import LARGEST_GROUP, of_another_shape
from search_space import Sweep
from search_space.schema.parameters import Parameter

__all__ = ["num_tuned", "proposals_together", "reason_one_by_one"]


def reason_one_by_one(sweep: Sweep) -> str:
    """Why settings that are yet to be found train alone; empty where they can train together, or where all are known.
    A phrase."""
    if (search := sweep.search) is not None:
        is_pruned = sweep.prune is not None
        seeds = () if is_pruned else sweep.seeds  # with a pruner they are trained one after the other
        cold = not search.warm_start
        return _reason(sweep.space, search.sampler, search.options, search.num_trials, seeds, begins_cold=cold)
    if (retune := sweep.retune) is not None:
        return _reason(retune.parameters, retune.sampler, retune.options, retune.num_trials, retune.seeds)
    return ""


def _reason(
    space: Mapping[str, Parameter],
    sampler: str,
    options: Mapping[str, Any],
    num_trials: int,
    seeds: Sequence[int],
    *,
    begins_cold: bool = True,
) -> str:
    # Optuna takes half a second: sweeps without a search do not pay for it.
    from runners.search.optuna_factory import num_independent

    if others := of_another_shape(space):
        return f"settings with another {', '.join(others)} have another shape"
    known = num_independent(sampler, options, begins_cold=begins_cold)
    if num_trials > known and len(seeds) < 2:
        return f"the sampler {sampler} takes the next setting from the results of those before"
    return ""


def proposals_together(sweep: Sweep) -> int:
    """Trials of a search that can be in one group throughout."""
    from runners.search.optuna_factory import num_independent

    search = sweep.search
    assert search is not None
    known = num_independent(search.sampler, search.options, begins_cold=not search.warm_start)
    together = search.num_trials * len(sweep.seeds) if search.num_trials <= known else len(sweep.seeds)
    return min(LARGEST_GROUP, together)


def num_tuned(sweep: Sweep) -> int:
    """Trials by which `retune` finds the setting of one variant."""
    return 0 if sweep.retune is None else sweep.retune.num_trials * len(sweep.retune.seeds)
