"""Spec of object detection: detector, pyramid, anchors, heads, and the sizes of images."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from search_space.schema.datasets import ObjectImages, ScenesSpec
from search_space.schema.tasks.task_spec import AUGMENTATIONS_OF_CLASSES, HEAD_OF_CLASSES, LOSS_OF_CLASSES, TaskSpec

__all__ = ["DetectionSpec"]


class DetectionSpec(TaskSpec):
    """Detection of objects: boxes by RetinaNet, or boxes and masks by Mask R-CNN, on the pyramid of the features."""

    metrics: ClassVar[tuple[str, ...]] = (
        *("box_ap", "box_ap50", "box_ap75", "box_ap_small", "box_ap_medium", "box_ap_large"),
        *("mask_ap", "mask_ap50", "mask_ap75", "mask_ap_small", "mask_ap_medium", "mask_ap_large"),
    )
    without_effect: ClassVar[tuple[str, ...]] = (
        *(
            "smoothing",
            *AUGMENTATIONS_OF_CLASSES,
            *LOSS_OF_CLASSES,
            *HEAD_OF_CLASSES,
            "crop_padding",
            "cosine_regulariser",
        ),
    )
    labelled: ClassVar[Literal["images", "pixels", "objects", "texts"]] = "objects"
    is_drawn: ClassVar[bool] = True

    name: Literal["detection"] = "detection"  # pyright: ignore[reportIncompatibleVariableOverride]
    dataset: ObjectImages = ScenesSpec()  # pyright: ignore[reportIncompatibleVariableOverride]
    detector: Literal["mask_rcnn", "retinanet"] = Field(
        default="mask_rcnn", description="Mask R-CNN (boxes and masks) or RetinaNet (boxes)"
    )
    pyramid: Literal["fpn", "simple"] | None = Field(
        default=None,
        description="`simple` makes the levels from the last map of a model of one scale; default: by the model",
    )
    pyramid_dim: int = Field(
        default=256, ge=1, le=8192, description="channels of the pyramid, and of the heads that are convolved over it"
    )
    finest_stride: Literal[4, 8, 16] | None = Field(
        default=None, description="of the pyramid's first level; default: 4 (`mask_rcnn`), 8 (`retinanet`)"
    )
    coarse_levels: bool = Field(
        default=True, description="levels beyond stride 32: one (`mask_rcnn`, for proposals), two (`retinanet`)"
    )
    anchor_size: float = Field(
        default=32, gt=0, le=4096, description="side of the anchors at the finest level in pixels; doubled per level"
    )
    box_dim: int = Field(default=1024, ge=1, le=8192, description="channels of the box head of `mask_rcnn`")
    mask_dim: int = Field(default=256, ge=1, le=8192, description="channels of the mask head of `mask_rcnn`")
    mask_layers: int = Field(default=4, ge=1, le=16, description="convolutions of the mask head of `mask_rcnn`")
    proposals: int = Field(default=1000, ge=1, le=10_000, description="of an image that the heads of `mask_rcnn` see")
    box_samples: int = Field(
        default=512, ge=1, le=10_000, description="proposals of an image in the loss of the heads of `mask_rcnn`"
    )
    detections: int = Field(
        default=100, ge=1, le=1000, description="most detections of an image; COCO counts 100 per image and category"
    )
    score_threshold: float = Field(default=0.05, ge=0, lt=1, description="least score of a detection")
    nms_threshold: float = Field(
        default=0.5, gt=0, le=1, description="IoU above which the lower score of two detections of a class is dropped"
    )
    short_side: int | None = Field(
        default=None,
        ge=1,
        le=65_536,
        description="shorter side to which images are scaled; default: that of the model's input",
    )
    long_side: int | None = Field(
        default=None,
        ge=1,
        le=65_536,
        description="most of the longer side, before which the shorter one gives way; default: that of short_side",
    )
    train_short_side: tuple[Annotated[int, Field(ge=1, le=65_536)], Annotated[int, Field(ge=1, le=65_536)]] | None = (
        Field(default=None, description="range of the random shorter side of training images; default: short_side")
    )

    @property
    def measured(self) -> tuple[str, ...]:
        return tuple(name for name in self.metrics if self.has_masks or not name.startswith("mask_"))

    @property
    def has_masks(self) -> bool:
        """Whether there are masks, in training and in the metrics."""
        return self.detector == "mask_rcnn"

    def sides(self, img_size: tuple[int, int]) -> tuple[int, int]:
        """(shorter, longer) side of the images that the detector sees, for the (height, width) of the model's input."""
        short = self.short_side or min(img_size)
        return short, self.long_side or short

    def train_sides(self, img_size: tuple[int, int]) -> tuple[tuple[int, int], int]:
        """Range of the shorter side of training images, and most of the longer one."""
        short, _ = self.sides(img_size)
        chosen = self.train_short_side or (short, short)
        return chosen, self.long_side or max(short, chosen[1])

    def evaluation(self) -> dict[str, Any]:
        # Masks are further metrics, and the limit of detections is part of what COCO measures.
        limit = {} if self.detections == 100 else {"detections": self.detections}
        return {**super().evaluation(), **limit}
