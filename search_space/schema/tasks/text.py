"""Spec of the classification and regression of text."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from search_space.schema.tasks.task_spec import AUGMENTATIONS_OF_CLASSES, HEAD_OF_CLASSES, LOSS_OF_CLASSES, TaskSpec
from search_space.schema.text_datasets import RecallSpec, Texts

__all__ = ["TextSpec"]


class TextSpec(TaskSpec):
    """A class or a number for every text, or pair of texts, by a BERT encoder (`arch.model: bert`)."""

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "f1", "mcc", "pearson", "spearman", "mse", "loss")
    without_effect: ClassVar[tuple[str, ...]] = (
        *(
            *AUGMENTATIONS_OF_CLASSES,
            *LOSS_OF_CLASSES,
            *HEAD_OF_CLASSES,
            "hflip",
            "crop_padding",
            "mean",
            "std",
            "cosine_regulariser",
        ),
    )
    labelled: ClassVar[Literal["images", "pixels", "objects", "texts"]] = "texts"

    name: Literal["text"] = "text"  # pyright: ignore[reportIncompatibleVariableOverride]
    dataset: Texts = RecallSpec()  # pyright: ignore[reportIncompatibleVariableOverride]
    head_dropout: float = Field(default=0.1, ge=0, lt=1, description="before the classifier")

    @property
    def measured(self) -> tuple[str, ...]:
        return self.dataset.metrics

    @property
    def is_regression(self) -> bool:
        return self.dataset.has_numbers
