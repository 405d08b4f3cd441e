"""Spec of image classification."""

from __future__ import annotations

from typing import ClassVar, Literal

from search_space.schema.datasets import Dataset, DigitsSpec
from search_space.schema.tasks.task_spec import TaskSpec

__all__ = ["ClassificationSpec"]


class ClassificationSpec(TaskSpec):
    """A class for every image."""

    metrics: ClassVar[tuple[str, ...]] = ("top1", "top5", "loss")
    has_right_answers: ClassVar[bool] = True

    name: Literal["classification"] = "classification"  # pyright: ignore[reportIncompatibleVariableOverride]
    dataset: Dataset = DigitsSpec()  # pyright: ignore[reportIncompatibleVariableOverride]
