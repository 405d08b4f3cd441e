"""The plan of a sweep is made: its variants are enumerated, checked, matched and costed, without training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from runners.machine.gpus import num_gpus_here
from runners.planning.auto_gpus import Say, with_gpus_found
from runners.planning.checks.fine_tuning import fine_tuning_problems
from runners.planning.checks.precisions import PRECISION_HINT, equal_precisions, with_precision
from runners.planning.checks.refused_choices import located, refused_choices
from runners.planning.checks.same_experiment import is_same_experiment
from runners.planning.match_solver import Unmatched, match_variant
from runners.planning.plan import Entry, Plan
from runners.training.device import kind_of_device
from runners.training.gpu.cuda_graph import WITHOUT_GRAPH, reason_against_graph
from runners.training.precision import reason_against_precision
from search_space import (
    Problem,
    Resources,
    Setting,
    SpecError,
    SweepFile,
    Variant,
    unmet_requirements,
    variants,
)

__all__ = ["make_plan"]


def make_plan(file: SweepFile, *, say: Say = lambda text: None, num_gpus: Callable[[], int] = num_gpus_here) -> Plan:
    """Enumerate, check and cost the variants of a sweep, and look at their data, without training.

    Args:
        say: called with a message before much data is read, and with what `gpus: auto` means.
        num_gpus: counts the GPUs for `gpus: auto`; default: those of this machine.

    Raises:
        SpecError: training options or model options that cannot be trained, missing data, a baseline that cannot be
            built, or no variant left.
    """
    plan = Plan(with_gpus_found(file, num_gpus, say=say), say=say)
    sweep = plan.sweep
    if of_baseline := plan.training_relations(sweep.baseline):
        raise SpecError([file.problem(f"baseline.{each.path}", each.message, each.hint) for each in of_baseline])
    if refused := refused_choices(sweep, with_precision(plan.training_relations, sweep.resources), plan.cost_of):
        raise SpecError([file.problem(each.path, each.message, each.hint, at_key=each.at_key) for each in refused])
    if against := _against_device(plan, sweep.baseline, sweep.resources):
        raise SpecError(against)
    if sweep.search:
        if not plan.is_foreign and (
            wrong := fine_tuning_problems(file, sweep.baseline, plan.describe(sweep.baseline.task))
        ):
            raise SpecError(wrong)
        return plan
    untrainable: dict[str, Problem] = {}  # by message: only the first variant with a fault is named
    for variant in variants(sweep):
        if sweep.match:
            variant, reasons = _matched(plan, variant)
        else:
            reasons, _ = plan.reasons_against(variant)
        if not unmet_requirements(sweep, variant.setting, None):
            processes = None if reasons else plan.resources_of(variant).num_processes
            for broken in plan.training_relations(variant.setting, num_processes=processes):
                text = f"the variant {variant.name!r} cannot be trained: {broken.path}: {broken.message}"
                hint = "; ".join(filter(None, (broken.hint, "or drop such variants by `require`")))
                untrainable.setdefault(broken.message, file.problem(("space",), text, hint, at_key=True))
        if sweep.metric not in variant.setting.task.measured:
            text = f"the variant {variant.name!r} has no metric {sweep.metric!r}, by which the sweep compares"
            hint = f"it has {', '.join(variant.setting.task.measured)}"
            untrainable.setdefault(sweep.metric, file.problem(("metric",), text, hint))
        if not reasons and (against := _against_device(plan, variant.setting, plan.resources_of(variant))):
            untrainable.setdefault(against.message, against)
        if not reasons and not plan.is_foreign:
            name = "" if variant.is_baseline else variant.name
            for wrong in fine_tuning_problems(file, variant.setting, plan.dataset_of(variant), name=name):
                untrainable.setdefault(wrong.message.partition(": ")[2] if name else wrong.message, wrong)
        if not reasons and (twin := _twin(plan, variant)):
            reasons = [f"builds the same model as {twin!r} and trains it the same way: no experiment"]
        if sweep.retune and variant.setting.task.val_fraction == 0:
            reasons = [*reasons, "retune needs task.val_fraction > 0"]
        if sweep.retune and not variant.setting.train.epochs:
            reasons = [*reasons, "retune needs a training, but train.epochs is 0"]
        plan.entries.append(Entry(variant, tuple(reasons)))
        if reasons and variant.is_baseline:
            with located(file):
                plan.cost_of(variant)  # raises with place and reason if the baseline cannot be built
            problems = [f"the baseline cannot run: {reason}" for reason in reasons]
            raise SpecError([file.problem(("baseline",), text, "deltas refer to the baseline") for text in problems])
    if untrainable:
        raise SpecError(untrainable.values())
    if not plan.variants:
        raise SpecError([Problem("no variant is left to run", hint="see `require` and `space`")])
    equal_precisions(((each, plan.resources_of(each)) for each in plan.variants), say=say)
    return plan


def _against_device(plan: Plan, setting: Setting, resources: Resources) -> Problem | None:
    """What the device of these resources cannot do for a setting."""
    if plan.is_foreign:
        return None
    if reason := reason_against_precision(setting.train.amp, kind_of_device(resources)):
        place = "baseline.train.amp" if setting.train.amp == plan.sweep.baseline.train.amp else ("space", "train.amp")
        return plan.file.problem(place, reason, PRECISION_HINT)
    if reason := reason_against_graph(setting, plan.describe(setting.task), resources):
        return plan.file.problem("resources.cuda_graph", reason, WITHOUT_GRAPH)
    return None


def _twin(plan: Plan, variant: Variant) -> str:
    """Name of an earlier variant that is the same experiment under other words; empty if there is none."""
    if plan.is_foreign:
        return ""  # other values are another experiment: what the code makes of them is not known
    cost = plan.cost_of(variant)
    for entry in plan.entries:
        if entry.reasons or entry.variant.block != variant.block or plan.cost_of(entry.variant) != cost:
            continue
        if is_same_experiment(entry.variant.setting, variant.setting, plan.describe):
            return entry.variant.name
    return ""


def _matched(plan: Plan, variant: Variant) -> tuple[Variant, list[str]]:
    """Variant with its matched value, and the reasons why it cannot run (empty if it can)."""
    match = plan.sweep.match
    assert match is not None
    reference = plan.entries[0].variant if plan.entries else variant
    if match.target == "baseline" and variant.is_baseline:
        return variant, plan.reasons_against(variant)[0]
    target = plan.cost_of(reference)[match.cost] if match.target == "baseline" else float(match.target)

    def cost_of(candidate: Variant) -> float | None:
        reasons, cost = plan.reasons_against(candidate)
        return None if reasons else cost[match.cost]

    found = match_variant(plan.sweep, variant, target, reference=reference.setting, cost_of=cost_of)
    if isinstance(found, Unmatched):
        return variant, [found.reason]
    if variant.is_baseline:
        found = replace(found, changes={})
    same = next((entry.variant.name for entry in plan.entries if entry.variant.variant_id == found.variant_id), None)
    return found, [f"is the same as {same!r} once it is matched"] if same else []
