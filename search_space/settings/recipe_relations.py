"""Relations between timm's finer options of a recipe: loss, mixing, cycles and noise of the schedule, layers.

They need no torch; those of names, of the warm-up and of augmentation are in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Iterator

from search_space.schema.trial import Setting, TrainSpec
from search_space.settings.augmentation_relations import jitters, train_option_without_effect
from search_space.settings.broken_relation import BrokenRelation

__all__ = ["recipe_relations"]

_WITH_CYCLES = ("cosine", "poly", "tanh")
_WITH_K = ("cosine", "poly")
_WITHOUT_NOISE = ("dino", "none")
_OF_TIMM_ALONE = ("dino", "none")


def recipe_relations(setting: Setting) -> Iterator[BrokenRelation]:
    """Relations that the finer options of a recipe break; those that a task does not have are said elsewhere."""
    task, train = setting.task, setting.train
    if "bce_loss" not in task.without_effect:
        yield from _loss(train)
    if "mixup" not in task.without_effect:
        yield from _mixing(train)
    if "aug_splits" not in task.without_effect:
        yield from _splits(train)
    yield from _rate(train)
    yield from _layers(train)
    yield from _schedule(train)
    if train.model_ema_warmup and train.ema_decay is None and "model_ema_warmup" not in task.without_effect:
        why = "without ema_decay there is no average"
        yield train_option_without_effect(train, "model_ema_warmup", why, "train.ema_decay")


def _written(train: TrainSpec, *names: str) -> list[str]:
    return [name for name in names if getattr(train, name) != TrainSpec.model_fields[name].default]


def _loss(train: TrainSpec) -> Iterator[BrokenRelation]:
    if train.bce_loss and train.jsd_loss:
        why = "the loss is that of a softmax of clean images"
        yield train_option_without_effect(train, "bce_loss", why, "train.jsd_loss")
    if not train.bce_loss:
        for name in _written(train, "bce_sum", "bce_target_thresh", "bce_pos_weight"):
            yield train_option_without_effect(train, name, "the loss is that of a softmax", "train.bce_loss")


def _mixing(train: TrainSpec) -> Iterator[BrokenRelation]:
    path = "train.cutmix_minmax"
    if train.cutmix_minmax is not None:
        low, high = train.cutmix_minmax
        if low >= high:
            message = f"the smaller share comes first, but got {list(train.cutmix_minmax)}"
            yield BrokenRelation(path, message, "timm's recipes have about [0.2, 0.8]", (path,))
        if train.cutmix:
            why = "cutmix_minmax takes the place of cutmix"
            yield train_option_without_effect(train, "cutmix", why, path)
    mixing = ("train.mixup", "train.cutmix", path)
    if not train.mixes:
        for name in _written(train, "mixup_prob", "mixup_switch_prob", "mixup_mode", "mixup_off_epoch"):
            yield train_option_without_effect(train, name, "nothing is mixed", *mixing)
        return
    if not (train.mixup and (train.cutmix or train.cutmix_minmax)) and _written(train, "mixup_switch_prob"):
        why = "only one of mixup and CutMix is set"
        yield train_option_without_effect(train, "mixup_switch_prob", why, *mixing)
    if train.mixup_off_epoch >= train.epochs > 0:
        why = f"the training has {train.epochs} epochs"
        yield train_option_without_effect(train, "mixup_off_epoch", why, "train.epochs")


def _splits(train: TrainSpec) -> Iterator[BrokenRelation]:
    path = "train.aug_splits"
    if train.aug_splits == 1:
        why = "an image comes once in a batch anyway"
        yield train_option_without_effect(train, "aug_splits", why)
    if train.aug_splits < 2:
        if train.jsd_loss:
            message = "the divergence is one between splits of the augmentation, but there are none"
            yield BrokenRelation("train.jsd_loss", message, "write aug_splits: 3, as AugMix", ("train.jsd_loss", path))
        for name in _written(train, "resplit"):
            yield train_option_without_effect(train, name, "there are no splits", path)
        return
    if train.mixes:
        message = "mixup and cutmix mix images with one another, which would mix the splits of one image with others'"
        yield BrokenRelation(path, message, "set one of the two", (path, "train.mixup", "train.cutmix"))
    if train.no_aug:
        why = "no_aug leaves augmentation out"
        yield train_option_without_effect(train, "aug_splits", why, "train.no_aug")
    elif not _changes_a_split(train):
        message = f"nothing changes an image after it is cropped, so its {train.aug_splits} splits would be equal"
        paths = (path, "train.aa", "train.color_jitter", "train.grayscale_prob", "train.gaussian_blur_prob")
        yield BrokenRelation(path, message, "write aa, for example augmix-m3", (*paths, "train.reprob"))
    if train.resplit and not train.reprob:
        yield train_option_without_effect(train, "resplit", "without reprob nothing is erased", "train.reprob")
    if train.cosine_regulariser is not None:
        message = "the regulariser is of the maps of a batch of images, not of their splits"
        yield BrokenRelation(
            "train.cosine_regulariser", message, "set one of the two", ("train.cosine_regulariser", path)
        )


def _changes_a_split(train: TrainSpec) -> bool:
    changes = train.aa is not None or jitters(train) or train.grayscale_prob or train.gaussian_blur_prob
    return bool(changes or train.reprob)


def _rate(train: TrainSpec) -> Iterator[BrokenRelation]:
    path = "train.lr_base"
    if train.lr_base is None:
        for name in _written(train, "lr_base_size", "lr_base_scale"):
            yield train_option_without_effect(train, name, "without lr_base the rate is lr", path)
    else:
        for name in _written(train, "lr"):
            yield train_option_without_effect(train, name, "lr_base takes the place of lr", path)


def _layers(train: TrainSpec) -> Iterator[BrokenRelation]:
    if train.layer_decay is None:
        for name in _written(train, "layer_decay_min_scale", "layer_decay_no_opt_scale"):
            why = "without layer_decay all layers have one learning rate"
            yield train_option_without_effect(train, name, why, "train.layer_decay")


def _schedule(train: TrainSpec) -> Iterator[BrokenRelation]:
    sched, path = train.sched, "train.sched"
    if sched not in _WITH_CYCLES:
        for name in _written(train, "cooldown_epochs", "lr_cycle_limit"):
            yield train_option_without_effect(train, name, f"{sched!r} does not go down to min_lr in cycles", path)
    if train.lr_cycle_limit == 1:
        for name in _written(train, "lr_cycle_mul", "lr_cycle_decay"):
            yield train_option_without_effect(train, name, "there is one cycle", "train.lr_cycle_limit")
    if sched not in _WITH_K and _written(train, "lr_k_decay"):
        yield train_option_without_effect(train, "lr_k_decay", f"{sched!r} has no k-decay", path)
    if not train.sched_on_updates and sched in _OF_TIMM_ALONE:
        why = f"{sched!r} is none of timm's schedules"
        yield train_option_without_effect(train, "sched_on_updates", why, path)
    yield from _noise(train)
    taken = train.warmup_epochs + train.cooldown_epochs
    if train.cooldown_epochs and taken >= train.epochs > 0:
        yield BrokenRelation(
            "train.cooldown_epochs",
            f"warmup_epochs + cooldown_epochs < epochs must hold, but got {train.warmup_epochs} + "
            f"{train.cooldown_epochs}, epochs={train.epochs}",
            "",
            ("train.cooldown_epochs", "train.warmup_epochs", "train.epochs"),
        )


def _noise(train: TrainSpec) -> Iterator[BrokenRelation]:
    path = "train.lr_noise"
    if train.lr_noise is None:
        for name in _written(train, "lr_noise_pct", "lr_noise_std"):
            yield train_option_without_effect(train, name, "without lr_noise there is no noise", path)
        return
    if train.sched in _WITHOUT_NOISE:
        yield train_option_without_effect(train, "lr_noise", f"{train.sched!r} has no noise", "train.sched")
    if len(train.lr_noise) == 2 and train.lr_noise[0] >= train.lr_noise[1]:
        message = f"noise begins before it ends, but got {list(train.lr_noise)}"
        yield BrokenRelation(path, message, "write one number for noise up to the end", (path,))
