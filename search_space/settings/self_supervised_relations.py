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
    if task.freeze_last_layer >= setting.train.epochs:
        message = (
            f"the prototypes would never be trained: freeze_last_layer={task.freeze_last_layer} of "
            f"epochs={setting.train.epochs}"
        )
        hint = "write freeze_last_layer: 0, or train for more epochs"
        yield BrokenRelation("task.freeze_last_layer", message, hint, ("task.freeze_last_layer", "train.epochs"))


def _unused(task: SelfSupervisedSpec, names: tuple[str, ...], why: str, owner: str) -> Iterator[BrokenRelation]:
    yield from (without_effect(task, name, why, owner) for name in names if is_written(task, name))
