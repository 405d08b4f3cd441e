"""Relation between options that a setting breaks."""

from __future__ import annotations

from dataclasses import dataclass

from search_space.parsing.type_guards import is_tuple
from search_space.schema.task import TaskSpec

__all__ = ["BrokenRelation", "is_written", "without_effect"]


@dataclass(frozen=True)
class BrokenRelation:
    """Relation that a setting breaks. `paths` are those that it depends on, `path` the one to change."""

    path: str
    message: str
    hint: str
    paths: tuple[str, ...]


def is_written(task: TaskSpec, name: str) -> bool:
    """Whether an option of a task has another value than its default."""
    return getattr(task, name) != type(task).model_fields[name].default


def without_effect(task: TaskSpec, name: str, why: str, *depends_on: str) -> BrokenRelation:
    """Relation of an option of a task that is written where it changes nothing."""
    path, value = f"task.{name}", getattr(task, name)
    message = f"{why}, so {name}={list(value) if is_tuple(value) else value} would have no effect"
    return BrokenRelation(path, message, f"leave {name} out", (path, *depends_on))
