"""Check of training options before any training: what timm and the data decide.

Names unknown to timm, numbers that an optimizer or a schedule refuses, options that the dataset would ignore. Relations
that need neither are those of `search_space/settings/training_relations.py`, which are checked here as well.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from timm.optim import get_optimizer_info, list_optimizers

from runners.data import IN_MEMORY_BYTES, DataInfo, describe_dataset, train_batch_size
from runners.data.augmentation.checks import augmentation_faults
from runners.data.augmentation.normalisation import normalisation_faults
from runners.data.epochs import updates_of_an_epoch
from runners.tasks import TASKS
from runners.training.optimization.optimizer import optimizer_of_one_layer
from runners.training.optimization.schedule import make_schedule
from search_space import Problem, Setting, SpecError, TaskSpec, TrainSpec, did_you_mean
from search_space.parsing.errors import reason_of
from search_space.schema.task import Task
from search_space.settings.augmentation_relations import train_option_without_effect
from search_space.settings.training_relations import (
    BrokenRelation,
    broken_relations,
    num_builtin_images,
)

__all__ = ["check_train_options", "training_relations"]

_OF_TRAIN = {
    "lr": "lr", "weight_decay": "weight_decay", "momentum": "momentum", "eps": "opt_eps", "betas": "opt_betas"
}  # fmt: skip
"""Arguments of optimisers that have options of their own."""
_OF_KERNELS = ("params", "foreach", "fused", "capturable", "differentiable")
_DEFAULT_MOMENTUM = TrainSpec.model_fields["momentum"].default


def check_train_options(
    task: Task, train: TrainSpec, resources: Any, *, in_memory_bytes: int = IN_MEMORY_BYTES
) -> None:
    """Check `train` for the dataset of `task`; report all problems at once.

    Raises:
        SpecError: unknown names, options without effect, numbers that do not fit together, missing data.
    """

    def describe(task: TaskSpec) -> DataInfo:
        return describe_dataset(task, resources, in_memory_bytes=in_memory_bytes)

    found = training_relations(Setting(task=task, train=train), describe, num_processes=resources.num_processes)
    if found:
        raise SpecError([Problem(broken.message, path=broken.path, hint=broken.hint) for broken in found])


def training_relations(
    setting: Setting, describe: Callable[[TaskSpec], DataInfo], *, num_processes: int
) -> list[BrokenRelation]:
    """Relations that the training options of a setting break, those that need no torch included; empty if none.

    Args:
        describe: returns sizes and counts of the task's dataset, or raises SpecError.
        num_processes: processes of a trial.
    """
    task, train = setting.task, setting.train
    found = [*broken_relations(setting), *_optimizer(train)]
    try:
        info = describe(task)
    except SpecError as err:
        return [*found, *(BrokenRelation(each.path, each.message, each.hint, ("task",)) for each in err.problems)]
    found += _processes(train, info.num_train, num_processes)
    found += _not_shared(train, num_processes)
    if num_builtin_images(task) is None:
        found += _mixing(train, info)
    if "mean" not in task.without_effect:
        found += normalisation_faults(setting, info)
    if "aa" not in task.without_effect:
        found += augmentation_faults(train, info, _input_size(setting, info))
    found += TASKS[task.name].relations(setting, info)
    if not found and train.epochs:
        found += _schedule(train, info)
    return found


def _input_size(setting: Setting, info: DataInfo) -> tuple[int, int] | None:
    try:
        return TASKS[setting.task.name].input_size(setting, info)
    except SpecError:
        return None  # said by its cost


def _processes(train: TrainSpec, num_train: int, num_processes: int) -> Iterator[BrokenRelation]:
    size = train_batch_size(train, num_train)
    if num_processes > 1 and size // 2 < num_processes:
        yield BrokenRelation(
            "train.batch_size",
            f"{num_processes} processes cannot share a batch of {size} images: each takes pairs of them",
            f"write at least {2 * num_processes}, or lower resources.gpus or resources.processes",
            ("train.batch_size", "train.mixup", "train.cutmix", "task"),
        )


def _not_shared(train: TrainSpec, num_processes: int) -> Iterator[BrokenRelation]:
    """What would not be the same with another number of processes."""
    if num_processes == 1:
        return
    hint = "leave it out, or lower resources.gpus or resources.processes"
    if train.mixup_mode != "batch":
        message = f"{num_processes} processes mix a part of a batch each, with one proportion for all of it"
        yield BrokenRelation("train.mixup_mode", message, hint, ("train.mixup_mode",))
    if train.recompute_maps:
        message = f"{num_processes} processes share the statistics of maps on GPUs, which are not computed again then"
        yield BrokenRelation("train.recompute_maps", message, hint, ("train.recompute_maps",))
    if train.layer_decay_no_opt_scale is not None:
        message = f"{num_processes} processes wait for the gradients of all weights, also of those that are not trained"
        yield BrokenRelation("train.layer_decay_no_opt_scale", message, hint, ("train.layer_decay_no_opt_scale",))


def _optimizer(train: TrainSpec) -> Iterator[BrokenRelation]:
    path = "train.opt"
    known = [str(name) for name in list_optimizers()]
    prefix, _, bare = train.opt.lower().rpartition("_")
    if bare not in known or prefix not in ("", "lookahead"):
        yield BrokenRelation(path, f"unknown optimizer {train.opt!r}", did_you_mean(train.opt, known), (path,))
        return
    known_of = get_optimizer_info(bare)
    options = (("opt_eps", known_of.has_eps, "epsilon"), ("opt_betas", known_of.has_betas, "betas"))
    if faults := list(_further_arguments(train, known_of.opt_class)):
        yield from faults
        return
    missing = [each for each in options if getattr(train, each[0]) is not None and not each[1]]
    for name, _, word in missing:
        yield train_option_without_effect(train, name, f"{train.opt!r} has no {word}", path)
    if train.opt_betas is not None and known_of.has_betas and len(train.opt_betas) != known_of.num_betas:
        message = f"{train.opt!r} has {known_of.num_betas} betas, but got {list(train.opt_betas)}"
        yield BrokenRelation("train.opt_betas", message, "", ("train.opt_betas", path))
        return
    numbers = (
        path,
        "train.lr",
        "train.weight_decay",
        "train.momentum",
        "train.opt_eps",
        "train.opt_betas",
        "train.opt_kwargs",
    )
    try:
        optimizer_of_one_layer(train)
    except ImportError as err:
        yield BrokenRelation(path, f"{train.opt!r} needs a package that is missing: {err}", "", (path,))
    # Optimisers raise many types for numbers that they do not accept.
    except (AssertionError, RuntimeError, TypeError, ValueError) as err:
        message = f"{train.opt!r} cannot be made with these options: {reason_of(err)}"
        yield BrokenRelation(path, message, "", numbers)
    if train.momentum != _DEFAULT_MOMENTUM and not get_optimizer_info(bare).has_momentum:
        yield BrokenRelation(
            "train.momentum",
            f"{train.opt!r} has no momentum, so {train.momentum:g} would have no effect",
            "leave momentum out, or choose an optimizer that has it, such as sgd",
            ("train.momentum", path),
        )


def _further_arguments(train: TrainSpec, opt_class: Any) -> Iterator[BrokenRelation]:
    """Names in `opt_kwargs` that belong elsewhere or are not the optimiser's, and values that it would misread."""
    arguments = inspect.signature(opt_class.__init__).parameters
    known = sorted(set(arguments) - {"self", "params", *_OF_TRAIN, *_OF_KERNELS})
    for name, value in train.opt_kwargs.items():
        path = f"train.opt_kwargs.{name}"
        if name in _OF_TRAIN:
            text, hint = f"{name!r} is an option of train", f"write train.{_OF_TRAIN[name]}"
        elif name in _OF_KERNELS:
            text, hint = f"{name!r} chooses kernels and not the training", "archsweep chooses them by the device"
        elif name not in known:
            text, hint = f"{train.opt!r} has no argument {name!r}", did_you_mean(name, known)
        elif isinstance(arguments[name].default, bool) and not isinstance(value, bool):
            # Any text is true to an optimiser, also `off`, which is text in YAML 1.2.
            text, hint = f"{name!r} of {train.opt!r} is on or off, but got {value!r}", "write true or false"
        else:
            continue
        yield BrokenRelation(path, text, hint, (path, "train.opt_kwargs", "train.opt"))


def _schedule(train: TrainSpec, info: DataInfo) -> Iterator[BrokenRelation]:
    """The schedule is built once: timm refuses lengths of its own."""
    updates = updates_of_an_epoch(train, info.num_train)
    optimizer = optimizer_of_one_layer(train)
    try:
        make_schedule(optimizer, train, updates_per_epoch=updates)
    except (AssertionError, ArithmeticError, TypeError, ValueError) as err:
        yield BrokenRelation(
            "train.sched",
            f"{train.sched!r} cannot be made for {train.epochs} epochs of {updates} updates: {reason_of(err)}",
            "train for more epochs, with a smaller batch_size or less warm-up, or choose cosine",
            ("train.sched", "train.epochs", "train.warmup_epochs", "train.batch_size", "task"),
        )


def _mixing(train: TrainSpec, info: DataInfo) -> Iterator[BrokenRelation]:
    if train.mixes and info.num_train < 2:
        message = "mixup and cutmix mix pairs, but there is only one training image"
        yield BrokenRelation("train.mixup", message, "", ("train.mixup", "train.cutmix", "task"))
