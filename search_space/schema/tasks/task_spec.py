"""What all tasks share: a dataset, a validation split, diagnostics of the trained model."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from search_space.schema.attention import Spec
from search_space.schema.datasets import DatasetSpec

__all__ = [
    "AUGMENTATIONS_OF_CLASSES",
    "HEAD_OF_CLASSES",
    "LOSS_OF_CLASSES",
    "MIXING",
    "SPLITS",
    "ProbeName",
    "TaskSpec",
]

MIXING = (*("mixup", "cutmix", "cutmix_minmax", "mixup_prob", "mixup_switch_prob", "mixup_mode", "mixup_off_epoch"),)
"""Options of `train` that mix images and their labels."""

SPLITS = ("aug_splits", "resplit")
"""Options of `train` by which an image comes several times in a batch."""

AUGMENTATIONS_OF_CLASSES = (
    *(*MIXING, *SPLITS, "no_aug"),
    *("scale", "ratio", "train_crop_mode", "vflip", "train_interpolation", "aa"),
    *("color_jitter", "color_jitter_prob", "grayscale_prob", "gaussian_blur_prob", "reprob", "remode", "recount"),
    "aug_repeats",
)
"""Options of `train` for images that have a class each: they change the image alone, and not its labels or boxes."""


ProbeName = Literal[
    "cross_layer_similarity",
    "similar_blocks",
    "similar_block_count",
    "head_similarity",
    "feature_similarity",
    "feature_evolution",
    "attention_entropy",
    "attention_distance",
]


LOSS_OF_CLASSES = ("bce_loss", "bce_sum", "bce_target_thresh", "bce_pos_weight", "jsd_loss")
"""Options of `train` for the loss of images that have a class each."""

HEAD_OF_CLASSES = ("head_init_scale", "head_init_bias")
"""Options of `train` for the first weights of timm's classifier."""


class TaskSpec(Spec):
    """Options that all tasks share: dataset, validation split, diagnostics of the trained model.

    Class attributes:
        metrics: names of the task's metrics, whatever the dataset is; `measured` are those of the dataset.
        without_effect: options of `train` that the task cannot use, so that writing them is an error.
        labelled: what has one label each: images, pixels, objects, or texts.
        has_right_answers: whether an image is simply right or wrong, so that `keep_predictions` has a meaning.
        is_drawn: whether predictions can be drawn over their images, so that `keep_samples` has a meaning.
        evaluation_only: options that change how a trained model is measured and nothing before that: trials that
            differ in no others are trained once and measured under each (`training_id`).
        training_only: options that change the training and not how a model is measured.
        measures_weights: whether all that is measured is in the model that `arch.weights` are for, so that weights can
            be measured without training (`train.epochs: 0`).
    """

    metrics: ClassVar[tuple[str, ...]]
    without_effect: ClassVar[tuple[str, ...]] = ()
    labelled: ClassVar[Literal["images", "pixels", "objects", "texts"]] = "images"
    has_right_answers: ClassVar[bool] = False
    is_drawn: ClassVar[bool] = False
    evaluation_only: ClassVar[tuple[str, ...]] = ()
    training_only: ClassVar[tuple[str, ...]] = ()
    measures_weights: ClassVar[bool] = False

    name: str
    dataset: DatasetSpec
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
