"""Options of self-supervision that have no effect, or cannot hold together, are found before anything is trained."""

from __future__ import annotations

import pytest

from search_space.schema.trial import Setting
from search_space.settings.training_relations import broken_relations

TASK = {"name": "self_supervised", "dataset": {"name": "builtin/grains"}}


def broken(task=None, train=None):
    setting = Setting.model_validate({"task": {**TASK, **(task or {})}, "train": {"epochs": 10, **(train or {})}})
    return {found.path: found.message for found in broken_relations(setting)}


@pytest.mark.parametrize(
    ("task", "path", "message"),
    [
        ({"local_crops": 0, "local_size": 16}, "task.local_size", "without local_crops there are no small crops"),
        ({"local_crops": 0, "local_scale": [0.1, 0.2]}, "task.local_scale", "local_scale=[0.1, 0.2] would have no"),
        ({"evaluate": ["linear"], "knn_k": 5}, "task.knn_k", "'knn' is not listed under evaluate"),
        ({"evaluate": ["knn"], "linear_lr": 1.0}, "task.linear_lr", "'linear' is not listed"),
        ({"evaluate": ["knn", "knn"]}, "task.evaluate", "'knn' is listed twice"),
        ({"teacher_temp": [0.04, 0.04], "teacher_temp_epochs": 5}, "task.teacher_temp_epochs", "are equal"),
        ({"aspect": [1.5, 0.5]}, "task.aspect", "the smaller number comes first, but got [1.5, 0.5]"),
        ({"region_loss": "mse"}, "task.region_loss", "method: dino has no loss between regions"),
        ({"loss": "mse", "student_temp": 0.2}, "task.student_temp", "a mean squared error has no distributions"),
        ({"loss": "mse", "teacher_operation": "sinkhorn"}, "task.teacher_operation", "would have no effect"),
        (
            {"method": "esvit", "region_loss": "mse", "teacher_operation": "sinkhorn"},
            "task.teacher_operation",
            "a mean squared error compares outputs, but teacher_operation=sinkhorn gives distributions",
        ),
        ({"teacher_operation": "sinkhorn", "center_momentum": 0.5}, "task.center_momentum", "sinkhorn has no centre"),
        ({"teacher_operation": "sinkhorn", "teacher_temp": [0, 0.1]}, "task.teacher_temp", "temperatures above 0"),
        ({"sinkhorn_iterations": 5}, "task.sinkhorn_iterations", "nothing is iterated"),
        (
            {"teacher_update": "previous_epoch", "momentum": [0, 0]},
            "task.momentum",
            "with teacher_update=previous_epoch nothing is averaged, so momentum=[0.0, 0.0] would have no effect",
        ),
        ({"head_bottleneck": False, "head_dim": 64}, "task.head_dim", "compares nothing with prototypes"),
        ({"head_bottleneck": False, "predictor": True}, "task.predictor", "compares nothing with prototypes"),
        ({"freeze_last_layer": 10}, "task.freeze_last_layer", "never be trained: freeze_last_layer=10 of epochs=10"),
    ],
)
def test_options_of_the_task(task, path, message):
    assert message in broken(task)[path]


@pytest.mark.parametrize(
    ("train", "path", "message"),
    [
        ({"clip_mode": "parameter"}, "train.clip_mode", "nothing is clipped"),
        ({"weight_decay": 0.0, "weight_decay_end": 0.4}, "train.weight_decay_end", "weight_decay=0 decays no weights"),
        ({"ema_decay": 0.9}, "train.ema_decay", "has no meaning in the task 'self_supervised'"),
        ({"mixup": 0.2}, "train.mixup", "has no meaning in the task 'self_supervised'"),
        (
            {"sched": "dino", "warmup_epochs": 1, "warmup_prefix": True},
            "train.warmup_prefix",
            "begins after the warm-up",
        ),
    ],
)
def test_options_of_training(train, path, message):
    assert message in broken(train=train)[path]


def test_the_recipe_of_dino_is_legal():
    recipe = {"sched": "dino", "warmup_epochs": 2, "warmup_lr": 0.0, "weight_decay": 0.04, "weight_decay_end": 0.4}
    assert broken(train={**recipe, "clip_grad": 3.0, "clip_mode": "parameter", "hflip": 0.5}) == {}
