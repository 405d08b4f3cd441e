"""What a trial of one variant may use, by the rules of `resources.per_variant`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from search_space.parsing.expressions import ExpressionError
from search_space.schema.resources import Resources, Rule
from search_space.schema.sweep import Sweep
from search_space.schema.trial import Setting
from search_space.settings.candidates import Issue
from search_space.variants.requirements import Requirement

__all__ = ["possible_resources", "resources_for", "resources_issues"]


def resources_for(resources: Resources, setting: Setting, cost_of: Callable[[], Mapping[str, float]]) -> Resources:
    """What the trials of a variant may use.

    Args:
        cost_of: `{"params_m": ..., "gmacs": ...}` of the variant; called only if a rule speaks of it.
    """
    return resources.under(*(rule for rule in resources.per_variant if _applies(rule, setting, cost_of)))


def possible_resources(resources: Resources) -> tuple[Resources, ...]:
    """What a trial may use where no rule applies, and under each rule alone."""
    return (resources.under(), *(resources.under(rule) for rule in resources.per_variant))


def _applies(rule: Rule, setting: Setting, cost_of: Callable[[], Mapping[str, float]]) -> bool:
    statement = Requirement.parse(rule.where)
    return statement.holds(setting, cost_of() if statement.costs else None)


def resources_issues(sweep: Sweep, broken: Sequence[tuple[str | int, ...]] = ()) -> Iterator[Issue]:
    """What is wrong with the resources: those of all trials, and those under each rule.

    Args:
        broken: paths that were taken out of the sweep because they were wrong already.
    """
    yield from _contradictions(sweep.resources, ("resources",))
    for index, rule in enumerate(sweep.resources.per_variant):
        place = ("resources", "per_variant", index)
        try:
            Requirement.parse(rule.where)
        except ExpressionError as err:
            shown = rule.where if len(rule.where) <= 60 else rule.where[:57] + "..."
            message = f"{shown!r} is no statement about a variant: {err.message}"
            yield Issue((*place, "where"), message, err.hint)
        if not rule.changes and not any(path[: len(place)] == place for path in broken):
            yield Issue(place, "changes nothing", "add what these trials may use instead, e.g.  gpus: 4")
        yield from _contradictions(sweep.resources.under(rule), place)


def _contradictions(resources: Resources, place: tuple[str | int, ...]) -> Iterator[Issue]:
    gpus, processes = resources.gpus, resources.processes
    if resources.gpu_memory is not None and gpus > 0:
        message = "`gpu_memory` decides how much of a GPU a trial gets, and so does `gpus`"
        yield Issue((*place, "gpu_memory"), message, "remove one of them", at_key=True)
    if gpus > 1 and gpus != int(gpus):
        message = f"more than one GPU is a whole number of them, but got {gpus:g}"
        yield Issue((*place, "gpus"), message, "write a whole number, or a fraction below 1")
    elif processes is not None and gpus > 0 and processes != max(1, int(gpus)):
        message = f"every process of a trial has a GPU of its own, but {processes} processes have {gpus:g} GPUs"
        hint = "leave `processes` out: there is one per GPU; it is meant for trials without GPUs"
        yield Issue((*place, "processes"), message, hint)
    elif processes is not None and processes > 1 and resources.gpu_memory is not None:
        message = "`gpu_memory` packs trials of one process"
        hint = "remove `processes`, or give the trial whole GPUs: `gpus: 4`"
        yield Issue((*place, "processes"), message, hint)
