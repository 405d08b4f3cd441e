"""Spec of semantic segmentation: decode head, pyramid, loss, and how images of other sizes are read."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from search_space.schema.datasets import LabelMaps, ScenesSpec
from search_space.schema.tasks.task_spec import AUGMENTATIONS_OF_CLASSES, HEAD_OF_CLASSES, LOSS_OF_CLASSES, TaskSpec

__all__ = ["SegmentationSpec"]


class SegmentationSpec(TaskSpec):
    """Semantic segmentation: a class for every pixel, by a decode head on the pyramid of the model's features."""

    metrics: ClassVar[tuple[str, ...]] = ("miou", "macc", "pixel_acc", "loss")
    without_effect: ClassVar[tuple[str, ...]] = (
        *("smoothing", *AUGMENTATIONS_OF_CLASSES, *LOSS_OF_CLASSES, *HEAD_OF_CLASSES),
        "cosine_regulariser",
    )
    labelled: ClassVar[Literal["images", "pixels", "objects", "texts"]] = "pixels"
    is_drawn: ClassVar[bool] = True

    name: Literal["segmentation"] = "segmentation"  # pyright: ignore[reportIncompatibleVariableOverride]
    dataset: LabelMaps = ScenesSpec()  # pyright: ignore[reportIncompatibleVariableOverride]
    head: Literal["upernet", "semantic_fpn"] = Field(
        default="upernet", description="decode head: UperNet (as with Swin) or Semantic FPN (as with PVT)"
    )
    head_dim: int | None = Field(
        default=None, ge=1, le=8192, description="channels of the head; default: 512 (`upernet`), 128 (`semantic_fpn`)"
    )
    pool_scales: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        default=(1, 2, 3, 6), min_length=1, max_length=8, description="grids of `upernet`'s pyramid pooling"
    )
    pyramid: Literal["fpn", "simple"] | None = Field(
        default=None,
        description="`simple` makes the levels from the last map of a model of one scale; default: by the model",
    )
    pyramid_dim: int = Field(
        default=256, ge=1, le=8192, description="channels of the levels of `semantic_fpn` and of a simple pyramid"
    )
    head_dropout: float = Field(default=0.1, ge=0, lt=1, description="of the head's last map")
    aux_weight: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="weight of the loss of an auxiliary FCN head on the second coarsest level, 0: no such head; "
        "default: 0.4 (`upernet`), 0 (`semantic_fpn`)",
    )
    aux_dim: int = Field(default=256, ge=1, le=8192, description="channels of the auxiliary head")
    ignore_label: Annotated[int, Field(ge=0, le=255)] = Field(
        default=255, description="label of pixels that neither the loss nor the metrics count"
    )
    inference: Literal["slide", "whole"] = Field(
        default="slide",
        description="images of other sizes than the model's input in windows that overlap, or at once, which not all "
        "models can (datasets read from files)",
    )
    short_side: int | None = Field(
        default=None,
        ge=1,
        le=65_536,
        description="shorter side of images at scale 1, in training and evaluation (datasets read from files); "
        "default: that of the model's input",
    )
    scale: tuple[Annotated[float, Field(gt=0, le=16)], Annotated[float, Field(gt=0, le=16)]] = Field(
        default=(1.0, 1.0), description="range of the random scale of training images (datasets read from files)"
    )
    max_class_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="training crops are drawn again, up to ten times, while one class covers more than this share "
        "(datasets read from files)",
    )
    photometric: bool = Field(
        default=False,
        description="random brightness, contrast, saturation and hue of training images (datasets read from files)",
    )

    @property
    def aux_weight_in_use(self) -> float:
        """Weight of the auxiliary loss, that of the published heads where none is written."""
        if self.aux_weight is not None:
            return self.aux_weight
        return 0.4 if self.head == "upernet" else 0.0

    def evaluation(self) -> dict[str, Any]:
        ignored = {} if self.ignore_label == 255 else {"ignore_label": self.ignore_label}
        return {**super().evaluation(), **ignored}
