"""Table of the tasks' specs: the options below `task` of a sweep, by `task.name`.

A task is what a model is trained for and measured by. `task.name` decides which options, datasets and metrics there
are; without a name it is classification. The tasks are implemented in `runners/tasks/<name>.py`, and a contract test
keeps the two tables consistent.

To add a task: one file in `tasks/`, one line in `TASK_SPECS`, its metrics in `metrics.py`, one file
in `runners/tasks/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from search_space.parsing.type_guards import is_dict
from search_space.plugins.open_union import OpenUnion
from search_space.plugins.spec_table import SpecTable
from search_space.schema.tasks.classification import ClassificationSpec
from search_space.schema.tasks.command import CommandSpec
from search_space.schema.tasks.detection import DetectionSpec
from search_space.schema.tasks.foreign import ForeignSpec
from search_space.schema.tasks.python import PythonSpec
from search_space.schema.tasks.segmentation import SegmentationSpec
from search_space.schema.tasks.self_supervised import SelfSupervisedSpec
from search_space.schema.tasks.task_spec import ProbeName, TaskSpec
from search_space.schema.tasks.text import TextSpec

__all__ = [
    "TASK_SPECS",
    "ClassificationSpec",
    "CommandSpec",
    "DetectionSpec",
    "ForeignSpec",
    "ProbeName",
    "PythonSpec",
    "SegmentationSpec",
    "SelfSupervisedSpec",
    "Task",
    "TaskSpec",
    "TextSpec",
]


TASK_SPECS: Mapping[str, type[TaskSpec]] = SpecTable(
    "task",
    {
        "classification": ClassificationSpec,
        "segmentation": SegmentationSpec,
        "detection": DetectionSpec,
        "text": TextSpec,
        "self_supervised": SelfSupervisedSpec,
        "python": PythonSpec,
        "command": CommandSpec,
    },
    TaskSpec,
    read=lambda task: task.spec,
)
"""`task.name` -> spec; that of a plug-in's task is its attribute `spec`."""


def _task_tag(value: Any) -> Any:
    return value.get("name", "classification") if is_dict(value) else getattr(value, "name", None)


Task = Annotated[TaskSpec, OpenUnion(TASK_SPECS, _task_tag)]
"""`task: {name: NAME, ...options}`; without a name: classification."""
