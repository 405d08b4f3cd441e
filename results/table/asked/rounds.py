"""Rounds of seeds in a table: how many seeds a row has by the results so far, and why it got no further ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from results.plan.run_plan import RunPlan
from results.stats.sequential.standing import Ends, Standing, standings
from results.store.record_summary import AnyRecord
from results.table.measured import value_of

__all__ = ["standings_of_plan"]


def standings_of_plan(plan: RunPlan, trials: Mapping[str, Mapping[int, AnyRecord]]) -> dict[str, Standing]:
    """Standing of every row that runs, by its variant id; empty for a plan without rounds.

    The baseline has the seeds of the row that has most. A row that was trained further than the results now say, as
    when a failed trial of another row was repeated, keeps what it has up to its last complete look.

    Args:
        trials: deciding records of the planned trials: variant id -> seed -> record.
    """
    rounds = plan.rounds
    if rounds is None:
        return {}
    variants = [variant for variant in plan.variants if not variant.dropped]
    ends = {each.variant_id: _ends(plan, trials.get(each.variant_id, {})) for each in variants}
    baseline = next((each.variant_id for each in variants if each.is_baseline), None)
    theirs = {} if baseline is None else ends[baseline]
    found: dict[str, Standing] = {}
    for study in dict.fromkeys(each.study for each in variants if not each.is_baseline):
        arms = [each.variant_id for each in variants if each.study == study and not each.is_baseline]
        found |= standings({key: ends[key] for key in arms}, theirs, plan.seeds, rounds=rounds, analysis=plan.analysis)
    for key, standing in found.items():
        trained = _complete(ends[key], plan)
        later = [number for number in rounds.looks if standing.num_seeds < number <= trained]
        if later:
            found[key] = replace(standing, num_seeds=later[-1])
    if baseline is not None:
        most = max((each.num_seeds for each in found.values()), default=rounds.looks[0])
        found[baseline] = Standing(most)
    return found


def _ends(plan: RunPlan, records: Mapping[int, AnyRecord]) -> Ends:
    return {seed: value_of(plan, record) for seed, record in records.items()}


def _complete(ends: Ends, plan: RunPlan) -> int:
    """Number of seeds from the first on that ended."""
    return next((number for number, seed in enumerate(plan.seeds) if seed not in ends), len(plan.seeds))
