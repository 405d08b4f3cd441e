"""Registry of training tasks. To add one: one file here that implements `task.Task`, one line in `TASKS`."""

from __future__ import annotations

from collections.abc import Mapping

from runners.tasks.classification import Classification
from runners.tasks.detection import Detection
from runners.tasks.segmentation import Segmentation
from runners.tasks.self_supervised import SelfSupervised
from runners.tasks.task import Task
from runners.tasks.text import Text
from search_space.plugins import extended

__all__ = ["TASKS", "Task"]

TASKS: Mapping[str, type[Task]] = extended(
    "task",
    {
        "classification": Classification,
        "segmentation": Segmentation,
        "detection": Detection,
        "text": Text,
        "self_supervised": SelfSupervised,
    },
)
"""`task.name` -> class."""
