"""Relations between the options of segmentation: options of a head that it does not have, of files that are not read.

What depends on the model (whether it needs a simple pyramid) is checked where the network is built.
"""

from __future__ import annotations

from collections.abc import Iterator

from search_space.schema.task import SegmentationSpec, TaskSpec
from search_space.settings.broken_relation import BrokenRelation
from search_space.settings.task_options import is_written, without_effect

__all__ = ["segmentation_relations"]

_OF_FILES = ("inference", "short_side", "scale", "max_class_share", "photometric")


def segmentation_relations(task: TaskSpec) -> Iterator[BrokenRelation]:
    """Relations that the options of segmentation break; none of other tasks."""
    if not isinstance(task, SegmentationSpec):
        return
    if task.head != "upernet" and is_written(task, "pool_scales"):
        yield without_effect(task, "pool_scales", f"{task.head!r} does not pool", "task.head")
    if not task.aux_weight_in_use and is_written(task, "aux_dim"):
        why = "without aux_weight there is no auxiliary head"
        yield without_effect(task, "aux_dim", why, "task.aux_weight", "task.head")
    if task.dataset.num_built_in is not None:
        for name in _OF_FILES:
            if is_written(task, name):
                why = f"{task.dataset.name!r} is drawn at one size and held in memory"
                yield without_effect(task, name, why, "task.dataset")
    low, high = task.scale
    if low > high:
        message = f"the smaller scale comes first, but got [{low:g}, {high:g}]"
        yield BrokenRelation("task.scale", message, f"write [{high:g}, {low:g}]", ("task.scale",))
