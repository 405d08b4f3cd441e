"""Relations between the options of a task: options of a head that it does not have, of files that are not read, sides.

What depends on the model (its canvas, its strides, whether it needs a simple pyramid) is checked where the network is
built.
"""

from __future__ import annotations

from collections.abc import Iterator

from search_space.schema.task import DetectionSpec, SegmentationSpec, TaskSpec
from search_space.settings.broken_relation import BrokenRelation, is_written, without_effect

__all__ = ["task_relations"]

_OF_LABEL_MAP_FILES = ("inference", "short_side", "scale", "max_class_share", "photometric")
_OF_MASK_RCNN = ("box_dim", "mask_dim", "mask_layers", "proposals", "box_samples")


def task_relations(task: TaskSpec) -> Iterator[BrokenRelation]:
    """Relations that the options of segmentation or detection break; none of other tasks."""
    if isinstance(task, SegmentationSpec):
        yield from _of_segmentation(task)
    if isinstance(task, DetectionSpec):
        yield from _of_detection(task)


def _of_segmentation(task: SegmentationSpec) -> Iterator[BrokenRelation]:
    if task.head != "upernet" and is_written(task, "pool_scales"):
        yield without_effect(task, "pool_scales", f"{task.head!r} does not pool", "task.head")
    if not task.aux_weight_in_use and is_written(task, "aux_dim"):
        why = "without aux_weight there is no auxiliary head"
        yield without_effect(task, "aux_dim", why, "task.aux_weight", "task.head")
    if task.dataset.num_built_in is not None:
        for name in _OF_LABEL_MAP_FILES:
            if is_written(task, name):
                why = f"{task.dataset.name!r} is drawn at one size and held in memory"
                yield without_effect(task, name, why, "task.dataset")
    low, high = task.scale
    if low > high:
        message = f"the smaller scale comes first, but got [{low:g}, {high:g}]"
        yield BrokenRelation("task.scale", message, f"write [{high:g}, {low:g}]", ("task.scale",))


def _of_detection(task: DetectionSpec) -> Iterator[BrokenRelation]:
    if not task.has_masks:
        for name in _OF_MASK_RCNN:
            if is_written(task, name):
                yield without_effect(task, name, f"{task.detector!r} has one dense head", "task.detector")
    if task.probes and task.dataset.num_built_in is None:
        yield BrokenRelation(
            "task.probes",
            f"probes compare maps of images of one size, and those of {task.dataset.name!r} differ",
            "leave probes out, or measure them on builtin/scenes",
            ("task.probes", "task.dataset"),
        )
    short, long, chosen = task.short_side, task.long_side, task.train_short_side
    if short is not None and long is not None and short > long:
        message = f"short_side <= long_side must hold, but got short_side={short}, long_side={long}"
        yield BrokenRelation("task.long_side", message, "", ("task.short_side", "task.long_side"))
    path = "task.train_short_side"
    if chosen is not None and chosen[0] > chosen[1]:
        hint = f"write [{chosen[1]}, {chosen[0]}]"
        yield BrokenRelation(path, f"the smaller side comes first, but got {list(chosen)}", hint, (path,))
    elif chosen is not None and long is not None and chosen[0] > long:
        message = f"no short side can be over long_side={long}, but got {list(chosen)}"
        yield BrokenRelation(path, message, "", (path, "task.long_side"))
