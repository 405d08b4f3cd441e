"""Options of a task that another option leaves without effect: whether they are written, and the message."""

from __future__ import annotations

from search_space.schema.task import TaskSpec
from search_space.settings.broken_relation import BrokenRelation

__all__ = ["is_written", "without_effect"]


def is_written(task: TaskSpec, name: str) -> bool:
    """Whether an option has another value than its default."""
    return getattr(task, name) != type(task).model_fields[name].default


def without_effect(task: TaskSpec, name: str, why: str, *depends_on: str) -> BrokenRelation:
    """The option is written and would be ignored.

    Args:
        why: beginning of the message.
        depends_on: paths of what makes it so.
    """
    path = f"task.{name}"
    message = f"{why}, so {name}={getattr(task, name)} would have no effect"
    return BrokenRelation(path, message, f"leave {name} out", (path, *depends_on))
