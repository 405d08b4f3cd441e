"""Check of training options before any training: names unknown to timm, options without effect.

The sweep file's schema cannot contain these checks: timm decides which optimisers exist, and whether an option applies
depends on the dataset. An option that this dataset, optimiser or schedule would ignore is an error: two variants that
differ only in it would be the same experiment under two names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from timm.data import create_transform
from timm.optim import create_optimizer_v2, get_optimizer_info, list_optimizers
from torch import nn

from runners.data import IN_MEMORY_BYTES, describe_dataset, train_batch_size
from runners.training.diagnostics import check_probe_options
from search_space.parsing.errors import Problem, SpecError, did_you_mean
from search_space.schema.trial import TaskSpec, TrainSpec

__all__ = ["SCHEDULES", "check_train_options"]

SCHEDULES = ("constant", "cosine", "multistep", "none", "poly", "rsqrt", "step", "tanh", "wsd")
"""timm's schedules, without `plateau`, which would adapt the learning rate to the evaluation split."""

_DECAYING = ("cosine", "poly", "rsqrt", "tanh", "wsd")
_FIRST_STEP_EPOCH = 90
"""Epoch of the first decay of timm's `step` and `multistep`."""
_DEFAULT_MOMENTUM = TrainSpec.model_fields["momentum"].default


def check_train_options(
    task: TaskSpec, train: TrainSpec, resources: Any, *, in_memory_bytes: int = IN_MEMORY_BYTES
) -> None:
    """Check `train` for the dataset of `task`; report all problems at once.

    Raises:
        SpecError: unknown names, options without effect, numbers that do not fit together, missing data.
    """
    problems = [*_optimizer(train), *_schedule(train), *_mixing(train), *check_probe_options(task)]
    try:
        info = describe_dataset(task, resources, in_memory_bytes=in_memory_bytes)
    except SpecError as err:
        problems.extend(err.problems)
    else:
        problems.extend(_processes(train, info.num_train, resources.num_processes))
        problems.extend(_augmentation(train, info.name, info.storage))
        if (train.mixup or train.cutmix) and info.storage != "stream" and info.num_train < 2:
            problems.append(
                Problem("mixup and cutmix mix pairs, but there is only one training image", path="train.mixup")
            )
    if problems:
        raise SpecError(problems)


def _processes(train: TrainSpec, num_train: int, num_processes: int) -> Iterator[Problem]:
    size = train_batch_size(train, num_train)
    if num_processes > 1 and size // 2 < num_processes:
        yield Problem(
            f"{num_processes} processes cannot share a batch of {size} images: each takes pairs of them",
            path="train.batch_size",
            hint=f"write at least {2 * num_processes}, or lower resources.gpus or resources.processes",
        )


def _optimizer(train: TrainSpec) -> Iterator[Problem]:
    known = [str(name) for name in list_optimizers()]
    prefix, _, bare = train.opt.lower().rpartition("_")
    if bare not in known or prefix not in ("", "lookahead"):
        yield Problem(f"unknown optimizer {train.opt!r}", path="train.opt", hint=did_you_mean(train.opt, known))
        return
    try:
        create_optimizer_v2(
            nn.Linear(2, 2), opt=train.opt, lr=train.lr, weight_decay=train.weight_decay, momentum=train.momentum
        )
    except ImportError as err:
        yield Problem(f"{train.opt!r} needs a package that is missing: {err}", path="train.opt")
    # Optimisers raise many types for numbers that they do not accept.
    except (AssertionError, RuntimeError, TypeError, ValueError) as err:
        yield Problem(f"{train.opt!r} cannot be made with these options: {err}", path="train.opt")
    if train.momentum != _DEFAULT_MOMENTUM and not get_optimizer_info(bare).has_momentum:
        yield Problem(
            f"{train.opt!r} has no momentum, so {train.momentum:g} would have no effect",
            path="train.momentum",
            hint="leave momentum out, or choose an optimizer that has it, such as sgd",
        )


def _schedule(train: TrainSpec) -> Iterator[Problem]:
    sched, path = train.sched, "train.sched"
    if sched == "plateau":
        yield Problem(
            "'plateau' would adapt the learning rate to the split that is evaluated",
            path=path,
            hint=f"known: {', '.join(SCHEDULES)}.",
        )
        return
    if sched not in SCHEDULES:
        yield Problem(f"unknown schedule {sched!r}", path=path, hint=did_you_mean(sched, SCHEDULES))
        return
    if sched in ("step", "multistep") and train.epochs <= _FIRST_STEP_EPOCH:
        yield Problem(
            f"{sched!r} decays first after epoch {_FIRST_STEP_EPOCH}, but epochs={train.epochs}",
            path=path,
            hint="write constant, or choose cosine",
        )
    if sched == "none" and train.warmup_epochs:
        yield Problem(
            f"'none' has no warmup, so warmup_epochs={train.warmup_epochs} would have no effect",
            path=path,
            hint="write constant",
        )
    if sched == "none" and train.layer_decay is not None:
        yield Problem(
            "'none' leaves every layer its full learning rate, so layer_decay would have no effect",
            path=path,
            hint="write constant",
        )
    if train.warmup_epochs >= train.epochs:
        yield Problem(
            f"warmup_epochs < epochs must hold, but got warmup_epochs={train.warmup_epochs}, epochs={train.epochs}",
            path="train.warmup_epochs",
        )
    if sched in _DECAYING and train.min_lr > train.lr:
        yield Problem(
            f"min_lr <= lr must hold, but got min_lr={train.min_lr:g}, lr={train.lr:g}",
            path="train.min_lr",
            hint=f"{sched} goes from lr down to min_lr",
        )


def _mixing(train: TrainSpec) -> Iterator[Problem]:
    if (train.mixup or train.cutmix) and train.batch_size % 2:
        yield Problem(
            f"mixup and cutmix mix pairs: batch_size must be even, but got {train.batch_size}", path="train.batch_size"
        )


def _augmentation(train: TrainSpec, dataset: str, storage: str) -> Iterator[Problem]:
    if storage == "memory":
        for option, is_set in (("aa", train.aa is not None), ("color_jitter", train.color_jitter > 0)):
            if is_set:
                yield Problem(
                    f"{option} works on images read by timm's loader, but {dataset!r} is held in memory",
                    path=f"train.{option}",
                    hint="datasets held in memory have crop_padding, hflip, reprob, mixup and cutmix",
                )
        return
    if train.crop_padding:
        yield Problem(
            f"crop_padding works on datasets held in memory, but {dataset!r} is read by timm's loader",
            path="train.crop_padding",
            hint="timm's loader crops and resizes at random by itself",
        )
    if train.aa is None:
        return
    try:
        create_transform(32, is_training=True, auto_augment=train.aa)
    except (AssertionError, IndexError, KeyError, ValueError) as err:
        yield Problem(
            f"timm cannot read {train.aa!r}: {err}", path="train.aa", hint="for example rand-m9-mstd0.5 or original"
        )
    if train.color_jitter and "3a" not in train.aa:
        yield Problem(
            f"timm leaves color_jitter out where aa is set, so {train.color_jitter:g} would have no effect",
            path="train.color_jitter",
            hint="set one of the two",
        )
