"""Relations between the options of self-supervision: ranges, and options of views and readouts that are not there.

What depends on the model (which sizes of crops it takes, whether it has features of regions) is checked where the
network is built.
"""

from __future__ import annotations

from collections.abc import Iterator

from search_space.schema.task import SelfSupervisedSpec
from search_space.schema.trial import Setting
from search_space.settings.broken_relation import BrokenRelation, is_written, without_effect

__all__ = ["self_supervised_relations"]

_OF_LOCAL_CROPS = ("local_size", "local_scale")
_OF_KNN = ("knn_k",)
_OF_LINEAR = ("linear_blocks", "linear_epochs", "linear_lr")
_OF_DISTRIBUTIONS = ("student_temp", "teacher_temp", "teacher_temp_epochs", "teacher_operation")
_RANGES = ("global_scale", "local_scale", "aspect")


def self_supervised_relations(setting: Setting) -> Iterator[BrokenRelation]:
    """Relations that a setting of self-supervision breaks; none of other tasks."""
    task = setting.task
    if not isinstance(task, SelfSupervisedSpec):
        return
    if not task.local_crops:
        yield from _unused(task, _OF_LOCAL_CROPS, "without local_crops there are no small crops", "task.local_crops")
    for readout, names in (("knn", _OF_KNN), ("linear", _OF_LINEAR)):
        if readout not in task.evaluate:
            yield from _unused(task, names, f"{readout!r} is not listed under evaluate", "task.evaluate")
    yield from _of_the_objective(task)
    if task.teacher_temp[0] == task.teacher_temp[1]:
        why = "both temperatures of the teacher are equal"
        yield from _unused(task, ("teacher_temp_epochs",), why, "task.teacher_temp")
    for name in sorted({name for name in task.evaluate if task.evaluate.count(name) > 1}):
        yield BrokenRelation("task.evaluate", f"{name!r} is listed twice", "list each once", ("task.evaluate",))
    for name in _RANGES:
        low, high = getattr(task, name)
        if low > high:
            path, message = f"task.{name}", f"the smaller number comes first, but got [{low:g}, {high:g}]"
            yield BrokenRelation(path, message, f"write [{high:g}, {low:g}]", (path,))
    if task.freeze_last_layer >= setting.train.epochs > 0:
        message = (
            f"the prototypes would never be trained: freeze_last_layer={task.freeze_last_layer} of "
            f"epochs={setting.train.epochs}"
        )
        hint = "write freeze_last_layer: 0, or train for more epochs"
        yield BrokenRelation("task.freeze_last_layer", message, hint, ("task.freeze_last_layer", "train.epochs"))


def _of_the_objective(task: SelfSupervisedSpec) -> Iterator[BrokenRelation]:
    """Options of losses, heads and teachers that others leave without effect."""
    distances = {task.loss, task.region_loss} if task.method == "esvit" else {task.loss}
    if task.method != "esvit":
        why = f"method: {task.method} has no loss between regions"
        yield from _unused(task, ("region_loss",), why, "task.method")
    if distances == {"mse"}:
        why = "a mean squared error has no distributions"
        yield from _unused(task, _OF_DISTRIBUTIONS, why, "task.loss")
    elif task.teacher_operation != "centering" and "mse" in distances:
        message = (
            f"a mean squared error compares outputs, but teacher_operation={task.teacher_operation} gives distributions"
        )
        paths = ("task.teacher_operation", "task.loss", "task.region_loss")
        yield BrokenRelation("task.teacher_operation", message, "write teacher_operation: centering", paths)
    if task.teacher_operation != "centering":
        why = f"teacher_operation={task.teacher_operation} has no centre"
        yield from _unused(task, ("center_momentum",), why, "task.teacher_operation")
        if 0 in task.teacher_temp:
            message = f"teacher_operation={task.teacher_operation} needs temperatures above 0"
            paths = ("task.teacher_temp", "task.teacher_operation")
            yield BrokenRelation("task.teacher_temp", message, "write a small number, for example 0.01", paths)
    if task.teacher_operation != "sinkhorn":
        yield from _unused(task, ("sinkhorn_iterations",), "nothing is iterated", "task.teacher_operation")
    if task.teacher_update != "momentum":
        why = f"with teacher_update={task.teacher_update} nothing is averaged"
        yield from _unused(task, ("momentum",), why, "task.teacher_update")
    if not task.head_bottleneck:
        why = "without head_bottleneck a head compares nothing with prototypes"
        yield from _unused(task, ("head_dim", "norm_last_layer", "predictor"), why, "task.head_bottleneck")


def _unused(task: SelfSupervisedSpec, names: tuple[str, ...], why: str, owner: str) -> Iterator[BrokenRelation]:
    yield from (without_effect(task, name, why, owner) for name in names if is_written(task, name))
