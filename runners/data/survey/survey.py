"""Survey of a dataset, by its task: what is on disk, compared with what is read, before anything trains.

What a survey found is kept by content (`readers/image_facts.py`, `split_facts.py`), so that the next start of the same
data costs a look at the times of the files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runners.data.dataset_info import DataInfo
from runners.data.loading import describe_dataset
from runners.data.survey.images import look_at_images
from runners.data.survey.label_maps import look_at_label_maps
from runners.data.survey.objects import look_at_objects
from runners.data.survey.result import Survey
from runners.data.survey.texts import look_at_texts
from search_space.parsing.errors import SpecError
from search_space.plugins import contributed
from search_space.schema.task import TaskSpec

__all__ = ["LOOKS", "look_at_dataset", "survey_dataset"]

LOOKS: dict[str, Callable[..., Survey]] = {
    "classification": look_at_images,
    "segmentation": look_at_label_maps,
    "detection": look_at_objects,
    "text": look_at_texts,
    "self_supervised": look_at_images,
}
"""`task.name` -> function that looks at its data."""


def survey_dataset(
    task: TaskSpec, resources: Any, *, say: Callable[[str], None] = lambda text: None, info: DataInfo | None = None
) -> Survey:
    """The survey of a task's dataset, which can be trained on.

    Args:
        say: called with a message before much is read.
        info: of the task, where it is known already.

    Raises:
        SpecError: the data is missing, cannot be read, or its numbers would not be what they say; all reasons at once.
    """
    found = look_at_dataset(task, resources, say=say, info=info)
    if found.faults:
        raise SpecError(found.faults)
    return found


def look_at_dataset(
    task: TaskSpec, resources: Any, *, say: Callable[[str], None] = lambda text: None, info: DataInfo | None = None
) -> Survey:
    """The survey of a task's dataset with its faults, for `survey_dataset` and for users who look for them.

    Raises:
        SpecError: the data is missing or cannot be opened at all.
    """
    info = describe_dataset(task, resources) if info is None else info
    # That of a plug-in's task has the look of its data, or is one of images with a label each.
    own = getattr(contributed("task").get(task.name), "look", look_at_images)
    return LOOKS.get(task.name, own)(task, resources, say=say, info=info)
