"""Base of the specs of plug-ins' tasks on images that have one target each."""

from __future__ import annotations

from typing import ClassVar

from search_space.schema.datasets import Dataset, DigitsSpec
from search_space.schema.tasks.task_spec import LOSS_OF_CLASSES, MIXING, SPLITS, TaskSpec

__all__ = ["ImageTaskSpec"]


class ImageTaskSpec(TaskSpec):
    """Task on the datasets of classification. A subclass has `metrics` and the `name`, a `Literal` with its default."""

    without_effect: ClassVar[tuple[str, ...]] = (
        *("smoothing", *MIXING, *SPLITS, *LOSS_OF_CLASSES, "cosine_regulariser"),
    )

    dataset: Dataset = DigitsSpec()  # pyright: ignore[reportIncompatibleVariableOverride]
