"""Specs of the tasks: the options below `task` of a sweep, and the names of each task's metrics.

A task is what a model is trained for and measured by. `task.name` decides which options, datasets and metrics there
are; without a name it is classification. The tasks are implemented in `runners/tasks/<name>.py`, and a contract test
keeps the two tables consistent.

To add a task: one class here, one line in `TASK_SPECS` and one in `Task`, its metrics in `metrics.py`, one file in
`runners/tasks/`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from search_space.parsing.type_guards import is_dict
from search_space.schema.attention import Spec
from search_space.schema.datasets import Dataset, DigitsSpec, LabelMaps, ObjectImages, ScenesSpec
from search_space.schema.text_datasets import RecallSpec, Texts

__all__ = ["TASK_SPECS", "DetectionSpec", "ProbeName", "SegmentationSpec", "Task", "TaskSpec", "TextSpec"]


ProbeName = Literal[
    "cross_layer_similarity",
    "similar_blocks",
    "head_similarity",
    "feature_similarity",
    "attention_entropy",
    "attention_distance",
]


class TaskSpec(Spec):
    """Classification, and the options that all tasks share: validation split, diagnostics of the trained model.

    Class attributes:
        metrics: names of the task's metrics, whatever the dataset is; `measured` are those of the dataset.
        without_effect: options of `train` that the task cannot use, so that writing them is an error.
        labelled: what has one label each: images, pixels, objects, or texts.
        has_right_answers: whether an image is simply right or wrong, so that `keep_predictions` has a meaning.
    """

    metrics: ClassVar[tuple[str, ...]] = ("top1", "top5", "loss")
    without_effect: ClassVar[tuple[str, ...]] = ()
    labelled: ClassVar[Literal["images", "pixels", "objects", "texts"]] = "images"
    has_right_answers: ClassVar[bool] = True

    name: Literal["classification"] = "classification"
    dataset: Dataset = DigitsSpec()
    val_fraction: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the training split held out for validation (the same for all seeds; of classification "
        "stratified); searches and pruners then use it instead of the test split",
    )
    probes: tuple[ProbeName, ...] = Field(
        default=(), description="diagnostics of the trained model's attention, as further metrics"
    )
    probe_images: int = Field(
        default=32, ge=1, le=100_000, description="test images for the probes, evenly spread over the test split"
    )
    similarity_threshold: float = Field(
        default=0.9, ge=-1, lt=1, description="cosine above which `similar_blocks` counts two columns as similar"
    )
    probe_arrays: bool = Field(default=False, description="also write the probes' arrays, trials/<id>/probes.npz")

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the metrics on the task's dataset; the first one ranks variants unless the sweep names another."""
        return self.metrics

    def evaluation(self) -> dict[str, Any]:
        """What decides which numbers a trial is measured by: the images of the test split and what counts as right."""
        return self.dataset.test_set()


class SegmentationSpec(TaskSpec):
    """Semantic segmentation: a class for every pixel, by a decode head on the pyramid of the model's features."""

    metrics: ClassVar[tuple[str, ...]] = ("miou", "macc", "pixel_acc", "loss")
    without_effect: ClassVar[tuple[str, ...]] = (
        *("smoothing", "mixup", "cutmix", "aa", "color_jitter", "reprob", "cosine_regulariser"),
    )
    labelled: ClassVar[Literal["images", "pixels", "objects", "texts"]] = "pixels"
    has_right_answers: ClassVar[bool] = False

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


class DetectionSpec(TaskSpec):
    """Detection of objects: boxes by RetinaNet, or boxes and masks by Mask R-CNN, on the pyramid of the features."""

    metrics: ClassVar[tuple[str, ...]] = (
        *("box_ap", "box_ap50", "box_ap75", "box_ap_small", "box_ap_medium", "box_ap_large"),
        *("mask_ap", "mask_ap50", "mask_ap75", "mask_ap_small", "mask_ap_medium", "mask_ap_large"),
    )
    without_effect: ClassVar[tuple[str, ...]] = (
        *("smoothing", "mixup", "cutmix", "aa", "color_jitter", "reprob", "crop_padding", "cosine_regulariser"),
    )
    labelled: ClassVar[Literal["images", "pixels", "objects", "texts"]] = "objects"
    has_right_answers: ClassVar[bool] = False

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


class TextSpec(TaskSpec):
    """A class or a number for every text, or pair of texts, by a BERT encoder (`arch.model: bert`)."""

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "f1", "mcc", "pearson", "spearman", "mse", "loss")
    without_effect: ClassVar[tuple[str, ...]] = (
        *("mixup", "cutmix", "hflip", "crop_padding", "aa", "color_jitter", "reprob", "cosine_regulariser"),
    )
    labelled: ClassVar[Literal["images", "pixels", "objects", "texts"]] = "texts"
    has_right_answers: ClassVar[bool] = False

    name: Literal["text"] = "text"  # pyright: ignore[reportIncompatibleVariableOverride]
    dataset: Texts = RecallSpec()  # pyright: ignore[reportIncompatibleVariableOverride]
    head_dropout: float = Field(default=0.1, ge=0, lt=1, description="before the classifier")

    @property
    def measured(self) -> tuple[str, ...]:
        return self.dataset.metrics

    @property
    def is_regression(self) -> bool:
        return self.dataset.has_numbers


TASK_SPECS: dict[str, type[TaskSpec]] = {
    "classification": TaskSpec,
    "segmentation": SegmentationSpec,
    "detection": DetectionSpec,
    "text": TextSpec,
}
"""`task.name` -> spec."""


def _task_tag(value: Any) -> Any:
    return value.get("name", "classification") if is_dict(value) else getattr(value, "name", None)


Task = Annotated[
    Annotated[TaskSpec, Tag("classification")]
    | Annotated[SegmentationSpec, Tag("segmentation")]
    | Annotated[DetectionSpec, Tag("detection")]
    | Annotated[TextSpec, Tag("text")],
    Discriminator(_task_tag),
]
"""`task: {name: NAME, ...options}`; without a name: classification."""
