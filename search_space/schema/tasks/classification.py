"""Spec of image classification, and of how a trained model is measured: its crop, its input size, flips."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from search_space.plugins.families import contributed
from search_space.schema.datasets import Dataset, DigitsSpec
from search_space.schema.img_size import ImgSize
from search_space.schema.tasks.task_spec import TaskSpec

__all__ = ["ClassificationSpec", "CropPct"]


def _crop_tag(value: Any) -> str:
    return "name" if isinstance(value, str) else "number"


CropPct = Annotated[
    Annotated[Annotated[float, Field(gt=0, le=2)], Tag("number")] | Annotated[Literal["model"], Tag("name")],
    Discriminator(_crop_tag),
]


class ClassificationSpec(TaskSpec):
    """A class for every image."""

    metrics: ClassVar[tuple[str, ...]] = (*("top1", "top5", "loss", "balanced_accuracy", "macro_f1", "auroc", "ece"),)
    has_right_answers: ClassVar[bool] = True
    is_drawn: ClassVar[bool] = True
    evaluation_only: ClassVar[tuple[str, ...]] = ("crop_pct", "crop_mode", "interpolation", "test_img_size", "tta")
    measures_weights: ClassVar[bool] = True

    name: Literal["classification"] = "classification"  # pyright: ignore[reportIncompatibleVariableOverride]
    dataset: Dataset = DigitsSpec()  # pyright: ignore[reportIncompatibleVariableOverride]
    crop_pct: CropPct = Field(
        default=1.0,
        description="evaluation crop: share of the scaled image's side that the input takes; above 1 the whole image "
        "is seen with a border of zero pixels (RFC of Refiner); `model`: crop_pct and crop_mode of the timm model",
    )
    crop_mode: Literal["center", "squash", "border"] | None = Field(
        default=None,
        description="timm's mode of that crop; default: `center` of images that timm's loader reads; those in memory "
        "are cut to one size as for training",
    )
    interpolation: Literal["bilinear", "bicubic", "model"] = Field(
        default="bilinear", description="how test images are resized; `model`: timm's for the model"
    )
    test_img_size: ImgSize | None = Field(
        default=None,
        description="side or [height, width] of the model's input in evaluation; default: that of training",
    )
    tta: Literal["none", "hflip"] = Field(
        default="none",
        description="`hflip`: the mean of the logits of an image and of its mirror image is measured",
    )

    @property
    def measured(self) -> tuple[str, ...]:
        # A subclass of a plug-in has metrics of its own.
        is_own = type(self).metrics is ClassificationSpec.metrics
        return (*self.metrics, *contributed("metric")) if is_own else self.metrics
