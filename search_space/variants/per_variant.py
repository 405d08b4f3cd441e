"""Resources of the trials of one variant, by the rules of `resources.per_variant`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from search_space.parsing.expressions import ExpressionError
from search_space.schema.resources import Resources, Rule
from search_space.schema.sweep import Sweep
from search_space.schema.task import TaskSpec
from search_space.schema.trial import Setting
from search_space.settings.candidates import Issue
from search_space.variants.requirements import Requirement

__all__ = ["needs_float64", "possible_resources", "resources_for", "resources_issues"]

_SINGLE_DEVICES = ("mps", "xpu")


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
    yield from _float64_issue(sweep)
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
    if resources.gpu_memory is not None and (gpus == "auto" or gpus > 0):
        message = "`gpu_memory` and `gpus` both set a trial's share of a GPU"
        yield Issue((*place, "gpu_memory"), message, "remove one of them", at_key=True)
    many = f"{processes} processes"
    if gpus == "auto":
        if processes is not None and processes > 1:
            message = f"every process of a trial needs its own GPU, but `gpus: auto` is one at most, for {many}"
            yield Issue((*place, "processes"), message, f"write  gpus: {processes}  or remove `processes`")
    elif gpus > 1 and gpus != int(gpus):
        message = f"a number of GPUs above 1 must be whole, but got {gpus:g}"
        yield Issue((*place, "gpus"), message, "write a whole number, or a fraction below 1")
    elif processes is not None and gpus > 0 and processes != max(1, int(gpus)):
        message = f"every process of a trial needs its own GPU, but there are {many} and {gpus:g} GPUs"
        hint = "remove `processes`: the default is one per GPU; the key is meant for trials without GPUs"
        yield Issue((*place, "processes"), message, hint)
    elif processes is not None and processes > 1 and resources.gpu_memory is not None:
        message = "`gpu_memory` is legal only for trials with one process"
        hint = "remove `processes`, or give the trial whole GPUs: `gpus: 4`"
        yield Issue((*place, "processes"), message, hint)
    if resources.device is not None:
        yield from _device_contradictions(resources, resources.device, place)


def _device_contradictions(resources: Resources, device: str, place: tuple[str | int, ...]) -> Iterator[Issue]:
    at = (*place, "device") if place == ("resources",) else place  # a rule has none of its own
    key = "gpus" if resources.gpu_memory is None else "gpu_memory"
    given = getattr(resources, key)
    asked = f"`{key}: {given if isinstance(given, str) else format(given, 'g')}`"
    if device == "cuda" and not resources.asks_for_gpu:
        hint = "gpus: 1 (--gpus-per-trial 1); `device` may be left out, it follows from the GPUs"
        yield Issue(at, "`device: cuda` needs GPUs, but a trial asks for none", hint)
    elif device == "cpu" and resources.asks_for_gpu:
        hint = "remove `device`, or set gpus: 0 (--gpus-per-trial 0)"
        yield Issue(at, f"`device: cpu` uses no GPU, but a trial asks for {asked}", hint)
    elif device in _SINGLE_DEVICES and resources.asks_for_gpu:
        hint = "`gpus` counts CUDA and ROCm GPUs: set gpus: 0 (--gpus-per-trial 0)"
        yield Issue(at, f"`device: {device}` is one device for one trial at a time, but a trial asks for {asked}", hint)
    elif device in _SINGLE_DEVICES and resources.num_processes > 1:
        message = f"`device: {device}` trains a trial in one process, but got processes: {resources.processes}"
        yield Issue(at, message, "remove `processes`")


def needs_float64(task: TaskSpec) -> str:
    """What in this task computes in float64, which MPS and many XPUs lack; empty if nothing does."""
    if task.name != "classification":
        return f"the task {task.name!r}"
    return "`task.probes`" if task.probes else ""


def _float64_issue(sweep: Sweep) -> Iterator[Issue]:
    device, needs = sweep.resources.device, needs_float64(sweep.baseline.task)
    if device in _SINGLE_DEVICES and needs:
        message = f"{needs} computes in float64, which `device: {device}` lacks"
        yield Issue(("resources", "device"), message, "only classification without `task.probes` trains there")
