"""What a well-typed `search` or `prune` section can still get wrong."""

from __future__ import annotations

from collections.abc import Iterator

from search_space.parsing.errors import did_you_mean
from search_space.schema.metrics import COST_NAMES, RANKED
from search_space.schema.sweep import Sweep
from search_space.settings.candidates import Complaint

__all__ = ["objective_complaints", "prune_complaints"]


def objective_complaints(sweep: Sweep) -> Iterator[Complaint]:
    """What is wrong with the objectives of a search."""
    if sweep.search is None or not sweep.search.objectives:
        return
    names, place = sweep.search.objectives, ("search", "objectives")
    known = (*RANKED, *COST_NAMES)
    for index, name in enumerate(names):
        if name not in known:
            yield Complaint((*place, index), f"unknown objective {name!r}", did_you_mean(name, known))
        elif name in names[:index]:
            yield Complaint((*place, index), f"the objective {name!r} is given twice")
    if len(names) == 1:
        hint = "remove `objectives`, or name two and more: the search then looks for their Pareto front"
        yield Complaint(place, "a search for one objective optimises `metric`", hint)
    elif sweep.metric not in names and sweep.metric in RANKED:
        message = f"the metric of the sweep, {sweep.metric!r}, is none of the objectives"
        yield Complaint(place, message, "the pruner goes by `metric`: add it here, or set it to one of these")


def prune_complaints(sweep: Sweep) -> Iterator[Complaint]:
    """What is wrong with what the pruner is to look at."""
    prune = sweep.prune
    if prune is None:
        return
    place = ("prune", "pruner") if prune.over is None else ("prune", "over")
    if prune.is_paired_test and not prune.is_over_seeds:
        message = "`wilcoxon` compares trials seed by seed; the epochs of a curve are no independent pairs"
        yield Complaint(place, message, "remove `over`, or choose another pruner, for example `median`")
    elif prune.is_over_seeds and len(sweep.seeds) < 2:
        message = f"a variant is judged by the seeds it has finished, but there is {len(sweep.seeds)} seed"
        yield Complaint(place, message, "raise `seeds`, or judge trials by their curves: a pruner with  over: epochs")
