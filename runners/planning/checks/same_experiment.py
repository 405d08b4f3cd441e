"""Whether two settings are one experiment under other words: the same model and weights, trained the same way.

Two rows of one experiment would be compared with each other as if their seeds were twice as many. Options that have no
effect together with others (a warm-up rate without a warm-up) and words for the same architecture are looked through;
the models are compared weight by weight, as they are initialised.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import nn

from modelzoo import attention_batchnorms
from modelzoo.factory.sameness import build_the_same
from runners.data import DataInfo, train_batch_size
from runners.data.augmentation.normalisation import normalised
from runners.data.augmentation.pipeline import augmentation_in_effect
from runners.tasks import TASKS
from runners.training.optimization.optimizer import optimizer_of_one_layer
from search_space import Setting, TaskSpec
from search_space.schema.trial import TrainSpec
from search_space.settings.evaluation_relations import MEASURING

__all__ = ["MODELS_WITH_MAPS", "is_same_experiment"]

MODELS_WITH_MAPS = ("deepvit_", "refined_vit_")
"""Named models whose own attention transforms its maps."""


def is_same_experiment(one: Setting, other: Setting, describe: Callable[[TaskSpec], DataInfo]) -> bool:
    """Compare two settings, which can be built and cost the same.

    Args:
        describe: returns sizes and counts of a task's dataset.
    """
    if one.arch.weights != other.arch.weights or _in_effect(one, describe) != _in_effect(other, describe):
        return False
    task, data = TASKS[other.task.name], describe(other.task)
    if task.input_size(other, data) != task.input_size(one, data):
        return False
    return build_the_same(*(functools.partial(_built, each, data) for each in (one, other)))


def _built(setting: Setting, info: DataInfo, seed: int | None) -> nn.Module:
    """The model; norms whose running statistics are computed again before every evaluation never use their momentum."""
    model = TASKS[setting.task.name].build(setting, info, seed=seed)
    if setting.train.recalibrate_bn:
        for batchnorm in attention_batchnorms(model):
            batchnorm.momentum = None  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return model


def _in_effect(setting: Setting, describe: Callable[[TaskSpec], DataInfo]) -> tuple[object, TrainSpec]:
    """The options of task and training as they take effect: no batch has more images than the dataset, without a
    warm-up its options are unused, timm has defaults for what is not written, attention without such maps has none to
    round, and crops may give the same input."""
    train, update = setting.train, dict[str, Any]()
    if not train.epochs:  # nothing but what measures
        train = TrainSpec(**{name: getattr(train, name) for name in MEASURING})
    if not train.recalibrate_bn:  # which draws its sample by the batch size as it is written
        update["batch_size"] = train_batch_size(train, describe(setting.task).num_train)
    info = describe(setting.task)
    found = normalised(info, setting) if "mean" not in setting.task.without_effect else info
    update |= {"mean": found.mean, "std": found.std}
    if "aa" not in setting.task.without_effect:
        update |= augmentation_in_effect(train, info)
    if train.steps is None and train.grad_accum_steps > 1:
        batches = info.num_train // max(1, train_batch_size(train, info.num_train))
        update["grad_accum_steps"] = min(train.grad_accum_steps, max(1, batches))
    update |= {"lr": train.peak_lr, **dict.fromkeys(("lr_base", "lr_base_scale")), "lr_base_size": 1}
    update |= _optimizer_in_effect(train) | {"head_init_scale": train.head_init_scale or 1.0}
    if not train.warmup_epochs:
        update |= {name: TrainSpec.model_fields[name].get_default() for name in ("warmup_lr", "warmup_prefix")}
    attention = setting.arch.attention
    is_softmax = attention.name == "softmax" and not setting.arch.model.startswith(MODELS_WITH_MAPS)
    if is_softmax or (attention.name == "groupmix" and attention.aggregator != "maxpool"):
        update |= {"map_precision": "float32", "recompute_maps": False}
    measured = TASKS[setting.task.name].measured_in_effect(setting, info)
    return measured, train.model_copy(update=update)


def _optimizer_in_effect(train: TrainSpec) -> dict[str, Any]:
    """Every argument of the optimiser, written or by default; as it is written where it keeps no default."""
    known = optimizer_of_one_layer(train).defaults
    known = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
    return {"opt_kwargs": {**train.opt_kwargs, **known}, "opt_eps": None, "opt_betas": None}
