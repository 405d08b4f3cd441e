"""Form of the trainings of every variant: each by itself, or several as one stacked model (fused).

Seeds of one variant train together, and those of variants that differ only in numbers of which every member of a stack
has its own: so it is decided for each stack, once, in the plan, also for settings that a search or `retune` has yet to
find. The results of a variant's seeds enter one mean, and the two forms round differently. Both engines follow the
plan, and a run that is continued keeps what its stored plan says, on whatever machine. Why and when:
docs/decisions/0024-fused-trials.md.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from modelzoo.stacked import reason_not_stackable
from results.plan.run_plan import RunPlan
from results.plan.stored import Numerics
from results.store.run import read_plan
from results.store.run_layout import RunDir
from runners.data import DataInfo, train_batch_size
from runners.data.epochs import updates_of_an_epoch
from runners.forms.searches import num_tuned, proposals_together, reason_one_by_one
from runners.forms.timing import StepTimes, time_steps
from runners.planning.plan import Plan
from runners.planning.trainings import variants_by_training
from runners.tasks import TASKS
from runners.training.device import kind_of_device
from runners.training.precision import resolved
from runners.training.stacked.optimizer import reason_not_stacked
from runners.trials.form import LARGEST_GROUP, Form, stack_of
from search_space import Resources, Setting, SpecError, Sweep, Variant
from search_space.plugins import loaded_plugins

__all__ = ["LEAST_GAIN", "decide_forms", "with_forms"]

_FEWEST_UPDATES = 1000
"""Of all trainings of a shape together: measuring both forms takes about as long as 40 updates of a trial, and 80 where
they are nearly alike, which must stay a small part of the training."""
LEAST_GAIN = 1.02
"""Speed-up below which a variant trains as ever: the measurement is no better than that."""

Timing = Callable[[Setting, DataInfo, int], StepTimes]


def with_forms(plan: Plan, run_dir: RunDir, *, collects: bool = False) -> Plan:
    """The plan with the form of every stack; those that the stored plan of the run directory has keep theirs.

    Args:
        collects: whether records of shards are taken over, which train alone.
    """
    try:
        stored = read_plan(run_dir) if run_dir.plan.is_file() else None
    except SpecError:  # damaged: what needs it says so
        stored = None
    forms = decide_forms(plan, stored=stored, collects=collects)
    return replace(plan, forms=forms)


def decide_forms(
    plan: Plan, *, stored: RunPlan | None = None, collects: bool = False, timing: Timing = time_steps
) -> dict[str, Form]:
    """Form of every stack of a plan, by its name.

    Args:
        collects: whether records of shards are taken over.
        stored: plan of an earlier start in the same run directory, which decides for the stacks that it has.
        timing: measures steps of both forms.
    """
    variants = plan.variants or [Variant("baseline", {}, plan.sweep.baseline)]
    stacks: dict[str, list[Variant]] = {}
    for variant in variants:
        stacks.setdefault(stack_of(variant.setting), []).append(variant)
    kept = _kept(stored, stacks)
    shared = {each.variant_id for group in variants_by_training(plan) if len(group) > 1 for each in group}
    found: dict[str, Form] = {}
    for stack, together in stacks.items():
        variant = together[0]
        reasons = (_impossible(plan, each, is_shared=each.variant_id in shared) for each in together)
        num_trainings = _num_trainings(plan.sweep, len(together))
        size = min(LARGEST_GROUP, num_trainings)
        if reason := next(filter(None, reasons), ""):
            found[stack] = Form("single", reason)
        elif stack in kept:
            size = size if kept[stack] == "fused" else 1
            found[stack] = Form(kept[stack], "as when the run was planned first", size=size)
        elif reason := _useless(plan, variant, num_trainings, collects=collects):
            found[stack] = Form("single", reason)
        else:
            size = proposals_together(plan.sweep) if plan.sweep.search else size
            found[stack] = _measured(plan, variant, size, timing)
    return found


def _kept(stored: RunPlan | None, stacks: Mapping[str, Sequence[Variant]]) -> Mapping[str, Numerics]:
    """Forms of an earlier start, by stack."""
    if stored is None:
        return {}
    if stored.forms:
        return stored.forms
    known: dict[str, Numerics] = {
        each.variant_id: each.numerics for each in stored.variants
    }  # all that plans before 0.3 say
    return {
        stack: known[each.variant_id]
        for stack, together in stacks.items()
        for each in together
        if each.variant_id in known
    }


def _num_trainings(sweep: Sweep, num_variants: int) -> int:
    """Trainings of the variants of one stack, those that tune them included."""
    if sweep.search is not None:
        return sweep.search.num_trials * len(sweep.seeds)
    return num_variants * (len(sweep.seeds) + num_tuned(sweep))


def _impossible(plan: Plan, variant: Variant, *, is_shared: bool) -> str:
    """Why the trials of a variant cannot train fused; empty where they can."""
    setting, train = variant.setting, variant.setting.train
    if plan.is_foreign:
        return "the training is the user's own"
    if reason := reason_one_by_one(plan.sweep):
        return reason
    if not train.epochs:
        return "nothing is trained"
    if train.numerics == "single":
        return "train.numerics is single"
    if is_shared:
        return "other variants are measured in its trainings"
    if setting.task.name != "classification":
        return f"the task is {setting.task.name}"
    if "split" in train.seeding.varied:
        return "every seed has its own split of the data"
    if setting.arch.weights is not None:
        return "it begins with the weights of another training"
    if reason := _of_resources(plan.resources_of(variant)):
        return reason
    if resolved(train.amp, torch.device("cpu")) != "float32":
        return f"train.amp is {train.amp}"
    if train.recompute_maps:
        return "train.recompute_maps saves memory, and a stack keeps all maps"
    if train.cosine_regulariser is not None:
        return "train.cosine_regulariser records the maps of every step"
    if train.freeze or train.layer_decay_no_opt_scale:
        return "parts of it are not trained"
    return _of_model(setting, plan.dataset_of(variant))


def _useless(plan: Plan, variant: Variant, trainings: int, *, collects: bool) -> str:
    """Why nothing is measured for a variant that could train fused; empty where it is.

    Args:
        trainings: of all variants that could be in one stack with it.
    """
    sweep, train = plan.sweep, variant.setting.train
    if plan.shard is not None or collects:
        return "shards may be trained on different machines, whose measurements differ"
    if sweep.prune is not None and sweep.prune.is_over_seeds:
        return "the pruner gives up seeds one after the other"
    if trainings == 1:
        return "there is only one seed, and no other variant of its shape"
    updates = train.epochs * updates_of_an_epoch(train, plan.dataset_of(variant).num_train) * trainings
    return "" if updates >= _FEWEST_UPDATES else f"{updates} updates in all are too few to gain by it"


def _of_resources(resources: Resources) -> str:
    if kind_of_device(resources) != "cpu":
        return "it trains on a GPU"
    if resources.num_processes > 1:
        return f"{resources.num_processes} processes train a trial"
    if resources.cpus >= 2:
        return f"a trial has {int(resources.cpus)} threads"
    return "processes read its images" if resources.num_workers else ""


def _of_model(setting: Setting, info: DataInfo) -> str:
    """Studies of a file share variants, and a run decides what its plan decided: each model is built once. Beside a
    plug-in, of which another version may be loaded, it is built each time."""
    if loaded_plugins():
        return _of_built_model(setting, info)
    return _of_known_model(setting.model_dump_json(), info)


@functools.lru_cache(maxsize=4096)
def _of_known_model(setting_json: str, info: DataInfo) -> str:
    return _of_built_model(Setting.model_validate_json(setting_json), info)


def _of_built_model(setting: Setting, info: DataInfo) -> str:
    train = setting.train
    with torch.device("meta"):
        model = TASKS[setting.task.name].build(setting, info)
    images = train_batch_size(train, info.num_train) * max(1, train.aug_splits)
    return reason_not_stacked(train) or reason_not_stackable(model, batch_size=images, num_threads=1) or ""


def _measured(plan: Plan, variant: Variant, size: int, timing: Timing) -> Form:
    times = timing(variant.setting, plan.dataset_of(variant), size)
    if not times.is_exact:
        return Form("single", "on this processor its numbers would depend on which trials train together")
    if times.fused is None:
        return Form("single", "its steps are long, so that there is little beside their arithmetic to save")
    gain = times.single / times.fused
    if gain < LEAST_GAIN:
        return Form("single", f"steps of {size} trials together are no faster here", gain)
    return Form("fused", f"steps of {size} trials together are faster here", gain, size)
