"""Resources of the trials of one variant, by the rules of `resources.per_variant`."""

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
    """Resources of the trials of a variant.

    Args:
        cost_of: Returns `{"params_m": ..., "gmacs": ...}` of the variant; called only if a rule refers to it.
    """
    return resources.under(*(rule for rule in resources.per_variant if _applies(rule, setting, cost_of)))


def possible_resources(resources: Resources) -> tuple[Resources, ...]:
    """Resources of a trial without any rule, and with each rule alone."""
    return (resources.under(), *(resources.under(rule) for rule in resources.per_variant))


def _applies(rule: Rule, setting: Setting, cost_of: Callable[[], Mapping[str, float]]) -> bool:
    statement = Requirement.parse(rule.where)
    return statement.holds(setting, cost_of() if statement.costs else None)


def resources_issues(sweep: Sweep, broken: Sequence[tuple[str | int, ...]] = ()) -> Iterator[Issue]:
    """Issues of the resources: those of all trials, and those with each rule.

    Args:
        broken: Paths that were removed from the sweep because of their types.
    """
    yield from _contradictions(sweep.resources, ("resources",))
    for index, rule in enumerate(sweep.resources.per_variant):
        place = ("resources", "per_variant", index)
        try:
            Requirement.parse(rule.where)
        except ExpressionError as err:
            shown = rule.where if len(rule.where) <= 60 else rule.where[:57] + "..."
            message = f"{shown!r} is not a condition on a variant: {err.message}"
            yield Issue((*place, "where"), message, err.hint)
        if not rule.changes and not any(path[: len(place)] == place for path in broken):
            yield Issue(place, "changes nothing", "add the resources of these trials, for example  gpus: 4")
        yield from _contradictions(sweep.resources.under(rule), place)


def _contradictions(resources: Resources, place: tuple[str | int, ...]) -> Iterator[Issue]:
    gpus, processes = resources.gpus, resources.processes
    if resources.gpu_memory is not None and gpus > 0:
        message = "`gpu_memory` and `gpus` both set a trial's share of a GPU"
        yield Issue((*place, "gpu_memory"), message, "remove one of them", at_key=True)
    if gpus > 1 and gpus != int(gpus):
        message = f"a number of GPUs above 1 must be whole, but got {gpus:g}"
        yield Issue((*place, "gpus"), message, "write a whole number, or a fraction below 1")
    elif processes is not None and gpus > 0 and processes != max(1, int(gpus)):
        message = f"every process of a trial needs its own GPU, but there are {processes} processes and {gpus:g} GPUs"
        hint = "remove `processes`: the default is one per GPU; the key is meant for trials without GPUs"
        yield Issue((*place, "processes"), message, hint)
    elif processes is not None and processes > 1 and resources.gpu_memory is not None:
        message = "`gpu_memory` is legal only for trials with one process"
        hint = "remove `processes`, or give the trial whole GPUs: `gpus: 4`"
        yield Issue((*place, "processes"), message, hint)
