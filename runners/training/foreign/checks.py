"""What is wrong with a training of the user's own, before it runs."""

from __future__ import annotations

from runners.training.foreign.function import function_relations
from search_space.schema.task import PythonSpec
from search_space.schema.trial import Setting
from search_space.settings.broken_relation import BrokenRelation

__all__ = ["foreign_relations"]


def foreign_relations(setting: Setting) -> list[BrokenRelation]:
    """Relations that the setting breaks; empty if it can be trained, as far as can be known."""
    return list(function_relations(setting.task)) if isinstance(setting.task, PythonSpec) else []
