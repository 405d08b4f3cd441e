"""Relations between training options: names of schedules, options without effect, numbers that do not fit together.

They need no torch, so a sweep file, a profile and every proposal of a search are checked alike. An option that dataset,
probes or schedule would ignore is an error: two variants that differ only in it would be one experiment under two
names. What timm and the data decide is checked by `runners/training/train_checks.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from search_space.parsing.errors import did_you_mean
from search_space.schema.trial import Setting, TaskSpec, TrainSpec
from search_space.settings.augmentation_relations import augmentation_relations
from search_space.settings.broken_relation import BrokenRelation
from search_space.settings.command_relations import command_relations
from search_space.settings.evaluation_relations import evaluation_relations, untrained_relations
from search_space.settings.recipe_relations import recipe_relations
from search_space.settings.self_supervised_relations import self_supervised_relations
from search_space.settings.task_relations import task_relations
from search_space.settings.text_relations import text_relations

__all__ = ["SCHEDULES", "BrokenRelation", "broken_relations", "num_builtin_images"]

SCHEDULES = ("constant", "cosine", "dino", "multistep", "none", "poly", "rsqrt", "step", "tanh", "wsd")
"""timm's schedules and DINO's, without `plateau`, which timm gives up: its state is in no checkpoint."""

_DECAYING = ("cosine", "dino", "poly", "rsqrt", "tanh", "wsd")
_WITH_RATE = ("multistep", "poly", "step")
"""Schedules that `decay_rate` changes."""
_JOINED = ("constant", "dino", "rsqrt", "wsd")
"""Schedules that begin where the warm-up ends, with or without `warmup_prefix`."""
_FIRST_STEP_EPOCH = 90
"""Epoch of the first decay of timm's `step` and `multistep`."""


def broken_relations(setting: Setting) -> list[BrokenRelation]:
    """Relations that a setting breaks, in the order of its sections; empty if it can be trained."""
    task, train = setting.task, setting.train
    return [
        *_probes(task),
        *_without_effect(task, train),
        *task_relations(task),
        *command_relations(setting),
        *evaluation_relations(setting),
        *text_relations(setting),
        *self_supervised_relations(setting),
        *_precision(train),
        *_optimizer(train),
        *untrained_relations(setting),
        *(_of_its_length(task, train) if train.epochs else ()),
        *_mixing(task, train),
        *augmentation_relations(setting),
        *recipe_relations(setting),
    ]


def _of_its_length(task: TaskSpec, train: TrainSpec) -> Iterator[BrokenRelation]:
    yield from _steps(train)
    yield from _schedule(task, train)


def num_builtin_images(task: TaskSpec) -> int | None:
    """Training images of a built-in dataset, without the validation split; None for other datasets."""
    total = task.dataset.num_built_in
    return None if total is None else total - round(total * task.val_fraction)


def _probes(task: TaskSpec) -> Iterator[BrokenRelation]:
    fields = type(task).model_fields
    owners = {"probe_images": "probes", "probe_arrays": "probes", "similarity_threshold": "`similar_blocks` in probes"}
    for name, owner in owners.items():
        is_used = "similar_blocks" in task.probes if name == "similarity_threshold" else bool(task.probes)
        if not is_used and getattr(task, name) != fields[name].default:
            yield BrokenRelation(
                f"task.{name}",
                f"without {owner}, {name}={getattr(task, name)!r} would have no effect",
                f"leave {name} out, or list what to measure under task.probes",
                (f"task.{name}", "task.probes"),
            )
    for name in sorted({name for name in task.probes if task.probes.count(name) > 1}):
        yield BrokenRelation("task.probes", f"{name!r} is listed twice", "list each probe once", ("task.probes",))


def _without_effect(task: TaskSpec, train: TrainSpec) -> Iterator[BrokenRelation]:
    """Options of training that the task does not have."""
    for name in task.without_effect:
        value = getattr(train, name)
        if value != TrainSpec.model_fields[name].default:
            yield BrokenRelation(
                f"train.{name}",
                f"{name} has no meaning in the task {task.name!r}, so {name}={value} would have no effect",
                f"leave {name} out",
                (f"train.{name}", "task.name"),
            )


def _precision(train: TrainSpec) -> Iterator[BrokenRelation]:
    # That softmax attention has no map to round is no mistake: it is trained beside mechanisms that have.
    if train.map_precision == "as_amp" and train.amp == "off":
        message = "`amp: off` rounds nothing, so map_precision=as_amp would have no effect"
        hint = "leave map_precision out, or choose another amp"
        yield BrokenRelation("train.map_precision", message, hint, ("train.map_precision", "train.amp"))
    path = "train.recompute_maps"
    if train.recompute_maps and train.numerics == "single":
        message = "`numerics: single` keeps the order of operations of earlier versions, which recomputed no maps"
        yield BrokenRelation(path, message, "leave numerics or recompute_maps out", (path, "train.numerics"))
    if train.recompute_maps and train.map_precision == "as_amp":
        message = "maps that are recomputed are in float32, so map_precision=as_amp would have no effect"
        yield BrokenRelation(path, message, "leave map_precision or recompute_maps out", (path, "train.map_precision"))


def _optimizer(train: TrainSpec) -> Iterator[BrokenRelation]:
    """Options of the update that another one needs."""
    if train.clip_grad is None and train.clip_mode != "norm":
        message = f"nothing is clipped, so clip_mode={train.clip_mode} would have no effect"
        hint = "write clip_grad: a number, or leave clip_mode out"
        yield BrokenRelation("train.clip_mode", message, hint, ("train.clip_mode", "train.clip_grad"))
    if train.weight_decay_end is not None and not train.weight_decay:
        message = "weight_decay=0 decays no weights, so weight_decay_end has nothing to begin with"
        hint = "write a weight_decay above 0, however small"
        yield BrokenRelation("train.weight_decay_end", message, hint, ("train.weight_decay_end", "train.weight_decay"))


def _steps(train: TrainSpec) -> Iterator[BrokenRelation]:
    if train.steps is not None and train.steps % train.epochs:
        low = train.steps // train.epochs * train.epochs
        yield BrokenRelation(
            "train.steps",
            f"steps are done in `epochs` equal parts, but {train.steps} cannot be divided by epochs={train.epochs}",
            f"write {' or '.join(str(each) for each in (low, low + train.epochs) if each)}, or other epochs",
            ("train.steps", "train.epochs"),
        )


def _schedule(task: TaskSpec, train: TrainSpec) -> Iterator[BrokenRelation]:
    sched, path = train.sched, "train.sched"
    if sched == "plateau":
        message = "timm gives 'plateau' up, and what it has seen is in no checkpoint"
        yield BrokenRelation(path, message, f"known: {', '.join(SCHEDULES)}.", (path,))
        return
    if sched not in SCHEDULES:
        yield BrokenRelation(path, f"unknown schedule {sched!r}", did_you_mean(sched, SCHEDULES), (path,))
        return
    yield from _warmup(train)
    yield from _steps_down(train)
    if sched not in _WITH_RATE and train.decay_rate != TrainSpec.model_fields["decay_rate"].default:
        yield BrokenRelation(
            "train.decay_rate",
            f"{sched!r} has no decay_rate, so {train.decay_rate:g} would have no effect",
            f"leave it out, or choose {', '.join(_WITH_RATE)}",
            ("train.decay_rate", path),
        )
    if sched in ("step", "multistep") and train.decay_rate > 1:
        message = f"{sched!r} multiplies the learning rate by decay_rate, which must be at most 1"
        yield BrokenRelation(
            "train.decay_rate", f"{message}, but got {train.decay_rate:g}", "", ("train.decay_rate", path)
        )
    if sched == "none" and train.layer_decay is not None:
        yield BrokenRelation(
            path,
            "'none' leaves every layer its full learning rate, so layer_decay would have no effect",
            "write constant",
            (path, "train.layer_decay"),
        )
    if sched == "none" and train.head_lr_scale is not None:
        message = "'none' leaves the head its full learning rate, so head_lr_scale would have no effect"
        yield BrokenRelation(path, message, "write constant", (path, "train.head_lr_scale"))
    if sched in _DECAYING and train.min_lr > train.peak_lr:
        yield BrokenRelation(
            "train.min_lr",
            f"min_lr <= lr must hold, but got min_lr={train.min_lr:g}, lr={train.peak_lr:g}",
            f"{sched} goes from lr down to min_lr",
            ("train.min_lr", "train.lr", "train.lr_base", path),
        )
    if sched in ("wsd", "rsqrt") and (num_images := num_builtin_images(task)) and train.warmup_epochs < train.epochs:
        of_an_epoch = max(1, num_images // min(train.batch_size, num_images))
        of_an_epoch = of_an_epoch if train.steps is None else train.steps // train.epochs
        updates = (train.epochs - train.warmup_epochs) * of_an_epoch
        if round(0.2 * updates) < 1:
            yield BrokenRelation(
                path,
                f"{sched!r} needs at least 3 updates after the warm-up, but there {_are(updates)}",
                "train for more epochs, with a smaller batch_size or less warm-up, or choose cosine",
                (path, "train.epochs", "train.warmup_epochs", "train.batch_size", "task"),
            )


def _steps_down(train: TrainSpec) -> Iterator[BrokenRelation]:
    """When `step` and `multistep` decay."""
    sched, path, own = train.sched, "train.sched", {"step": "decay_epochs", "multistep": "decay_milestones"}
    for owner, name in own.items():
        value = getattr(train, name)
        if value and sched != owner:
            message = f"{sched!r} has no {name}, so {json.dumps(value)} would have no effect"
            yield BrokenRelation(f"train.{name}", message, f"leave it out, or choose {owner}", (f"train.{name}", path))
    if sched not in own:
        return
    if list(train.decay_milestones) != sorted(set(train.decay_milestones)):
        message = f"milestones are epochs in rising order, but got {list(train.decay_milestones)}"
        hint = f"write {sorted(set(train.decay_milestones))}"
        yield BrokenRelation("train.decay_milestones", message, hint, ("train.decay_milestones",))
        return
    at = train.decay_epochs if sched == "step" else next(iter(train.decay_milestones), None)
    last = at if sched == "step" else next(reversed(train.decay_milestones), None)
    first = _FIRST_STEP_EPOCH if at is None else at
    after = f" after warmup_epochs={train.warmup_epochs}" if train.warmup_prefix else ""
    decaying_epochs = train.epochs - train.cooldown_epochs - (train.warmup_epochs if train.warmup_prefix else 0)
    if decaying_epochs <= (first if last is None else last):
        what = "first" if decaying_epochs <= first else "last"
        epoch = first if what == "first" else last
        yield BrokenRelation(
            path if at is None else f"train.{own[sched]}",
            f"{sched!r} decays {what} after epoch {epoch}{after}, but epochs={train.epochs}",
            "write constant, or choose cosine" if at is None else f"write smaller {own[sched]}, or more epochs",
            (
                *(path, "train.epochs", f"train.{own[sched]}"),
                *(("train.warmup_epochs", "train.warmup_prefix") if after else ()),
            ),
        )


def _warmup(train: TrainSpec) -> Iterator[BrokenRelation]:
    sched, epochs = train.sched, train.warmup_epochs
    if sched == "none" and epochs:
        yield BrokenRelation(
            "train.sched",
            f"'none' has no warmup, so warmup_epochs={epochs} would have no effect",
            "write constant",
            ("train.sched", "train.warmup_epochs"),
        )
    if sched == "rsqrt" and not epochs:
        yield BrokenRelation(
            "train.warmup_epochs",
            "'rsqrt' decays on the time scale of its warm-up, so warmup_epochs >= 1 must hold, but got 0",
            "add a warm-up, or choose cosine",
            ("train.warmup_epochs", "train.sched"),
        )
    if epochs >= train.epochs:
        yield BrokenRelation(
            "train.warmup_epochs",
            f"warmup_epochs < epochs must hold, but got warmup_epochs={epochs}, epochs={train.epochs}",
            "",
            ("train.warmup_epochs", "train.epochs"),
        )
    if not train.warmup_prefix:
        return
    reason = "without warmup_epochs" if not epochs else f"{sched!r} begins after the warm-up anyway, so"
    if not epochs or sched in _JOINED:
        yield BrokenRelation(
            "train.warmup_prefix",
            f"{reason} warmup_prefix would have no effect",
            "remove it",
            ("train.warmup_prefix", "train.warmup_epochs", "train.sched"),
        )


def _are(number: int) -> str:
    return f"is {number}" if number == 1 else f"are {number}"


def _mixing(task: TaskSpec, train: TrainSpec) -> Iterator[BrokenRelation]:
    if not train.mixes:
        return
    mixing = ("train.mixup", "train.cutmix")
    if train.batch_size % 2:
        message = f"mixup and cutmix mix pairs: batch_size must be even, but got {train.batch_size}"
        yield BrokenRelation("train.batch_size", message, "", ("train.batch_size", *mixing))
    num_images = num_builtin_images(task)
    if num_images is not None and num_images < 2:
        message = "mixup and cutmix mix pairs, but there is only one training image"
        yield BrokenRelation("train.mixup", message, "", (*mixing, "task"))
