"""Relations between the options of detection: heads that a detector does not have, sides of images, probes.

What depends on the model (its canvas, its strides) is checked where the network is built.
"""

from __future__ import annotations

from collections.abc import Iterator

from search_space.schema.task import DetectionSpec, TaskSpec
from search_space.settings.broken_relation import BrokenRelation
from search_space.settings.task_options import is_written, without_effect

__all__ = ["detection_relations"]

_OF_MASK_RCNN = ("box_dim", "mask_dim", "mask_layers", "proposals", "box_samples")


def detection_relations(task: TaskSpec) -> Iterator[BrokenRelation]:
    """Relations that the options of detection break; none of other tasks."""
    if not isinstance(task, DetectionSpec):
        return
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
    yield from _sides(task)


def _sides(task: DetectionSpec) -> Iterator[BrokenRelation]:
    short, long, chosen = task.short_side, task.long_side, task.train_short_side
    if short is not None and long is not None and short > long:
        message = f"short_side <= long_side must hold, but got short_side={short}, long_side={long}"
        yield BrokenRelation("task.long_side", message, "", ("task.short_side", "task.long_side"))
    path = "task.train_short_side"
    if chosen is None:
        return
    if chosen[0] > chosen[1]:
        hint = f"write [{chosen[1]}, {chosen[0]}]"
        yield BrokenRelation(path, f"the smaller side comes first, but got {list(chosen)}", hint, (path,))
    elif long is not None and chosen[0] > long:
        message = f"no short side can be over long_side={long}, but got {list(chosen)}"
        yield BrokenRelation(path, message, "", (path, "task.long_side"))
