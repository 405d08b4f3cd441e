"""Spec of self-supervised pre-training by self-distillation: DINO (Caron et al., 2021) and EsViT (Li et al., 2022)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from search_space.schema.datasets import Dataset, DigitsSpec
from search_space.schema.tasks.task_spec import AUGMENTATIONS_OF_CLASSES, HEAD_OF_CLASSES, LOSS_OF_CLASSES, TaskSpec

__all__ = ["Readout", "SelfSupervisedSpec"]

Distance = Literal["cross_entropy", "mse"]
Readout = Literal["knn", "linear"]
Probability = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class SelfSupervisedSpec(TaskSpec):
    """Pre-training without labels: a student learns the outputs of its own moving average, the teacher, on other crops
    of an image. Labels only serve to measure the teacher's features. Names and defaults are those of DINO's code, the
    number of prototypes excepted, which is 65,536 there."""

    metrics: ClassVar[tuple[str, ...]] = (
        *("knn_top1", "linear_top1", "knn_top1_untrained", "linear_top1_untrained"),
        *("knn_top1_pixels", "linear_top1_pixels", "teacher_entropy", "target_entropy"),
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
        *("ema_decay", "model_ema_warmup"),
        # The centre of the teacher's outputs moves with every batch.
        "grad_accum_steps",
    )
    training_only: ClassVar[tuple[str, ...]] = (
        *("method", "prototypes", "head_layers", "head_hidden_dim", "head_dim", "head_batch_norm", "head_activation"),
        *("head_bottleneck", "predictor", "norm_last_layer", "freeze_last_layer", "loss", "region_loss"),
        *("student_temp", "teacher_temp", "teacher_temp_epochs", "teacher_update", "momentum", "teacher_operation"),
        *("sinkhorn_iterations", "center_momentum", "global_scale", "local_scale"),
        *("aspect", "color_jitter", "grayscale", "blur", "solarize", "channel_jitter", "channel_shift"),
    )
    measures_weights: ClassVar[bool] = True

    name: Literal["self_supervised"] = "self_supervised"  # pyright: ignore[reportIncompatibleVariableOverride]
    dataset: Dataset = DigitsSpec()  # pyright: ignore[reportIncompatibleVariableOverride]
    method: Literal["dino", "esvit"] = Field(
        default="dino", description="DINO's loss between views, or EsViT's, which adds one between their regions"
    )
    # Heads
    prototypes: int = Field(default=4096, ge=2, le=1_000_000, description="outputs of a head")
    head_layers: int = Field(default=3, ge=1, le=16, description="layers of a head before its prototypes")
    head_hidden_dim: int = Field(default=2048, ge=1, le=65_536, description="channels of a head's hidden layers")
    head_dim: int = Field(default=256, ge=1, le=65_536, description="channels that a head compares with its prototypes")
    head_batch_norm: bool = Field(default=False, description="BatchNorm after a head's hidden layers")
    head_activation: Literal["gelu", "relu"] = Field(default="gelu", description="after a head's hidden layers")
    head_bottleneck: bool = Field(
        default=True,
        description="L2 normalisation before the prototypes; false: the last layer gives the outputs",
    )
    predictor: bool = Field(
        default=False,
        description="a layer of head_hidden_dim channels and one back to head_dim in the student's heads only",
    )
    norm_last_layer: bool = Field(default=True, description="prototypes have length 1; false: their lengths are learnt")
    freeze_last_layer: int = Field(default=1, ge=0, description="first epochs in which the prototypes do not change")
    # Loss and teacher
    loss: Distance = Field(
        default="cross_entropy",
        description="between views; mse: mean squared error of L2-normalised outputs, without temperatures",
    )
    region_loss: Distance = Field(default="cross_entropy", description="between regions (esvit)")
    student_temp: float = Field(default=0.1, gt=0, le=10)
    teacher_temp: tuple[Annotated[float, Field(ge=0, le=10)], Annotated[float, Field(ge=0, le=10)]] = Field(
        default=(0.04, 0.07), description="at the first epoch and from the end of its warm-up on; 0: the largest output"
    )
    teacher_temp_epochs: int = Field(default=30, ge=0, description="epochs of the temperature's linear warm-up")
    teacher_update: Literal["momentum", "previous_epoch", "previous_iteration"] = Field(
        default="momentum",
        description="the teacher's weights: a moving average, or those of an earlier student",
    )
    momentum: tuple[Probability, Probability] = Field(
        default=(0.996, 1.0), description="of the teacher's weights, at the first update and, by a cosine, at the end"
    )
    teacher_operation: Literal["centering", "batch_softmax", "sinkhorn"] = Field(
        default="centering",
        description="on the teacher's outputs: minus their moving average, a softmax over the batch, Sinkhorn-Knopp",
    )
    sinkhorn_iterations: int = Field(default=3, ge=1, le=1000, description="of Sinkhorn-Knopp")
    center_momentum: Probability = Field(default=0.9, description="of the centre of the teacher's outputs")
    # Views
    local_crops: int = Field(default=8, ge=0, le=64, description="small crops of an image beside its two global ones")
    local_size: int | None = Field(
        default=None,
        ge=1,
        le=65_536,
        description="side of small crops; default: 3/7 of the model's input (96 for 224)",
    )
    global_scale: tuple[Share, Share] = Field(default=(0.4, 1.0), description="range of a global crop's share of area")
    local_scale: tuple[Share, Share] = Field(default=(0.05, 0.4), description="range of a small crop's share of area")
    aspect: tuple[Annotated[float, Field(gt=0, le=16)], Annotated[float, Field(gt=0, le=16)]] = Field(
        default=(3 / 4, 4 / 3), description="range of a crop's width over its height"
    )
    color_jitter: Probability = Field(default=0.8, description="of jitter in brightness, contrast, saturation and hue")
    grayscale: Probability = Field(default=0.2, description="of a view without colour")
    blur: tuple[Probability, Probability, Probability] = Field(
        default=(1.0, 0.1, 0.5), description="probability of Gaussian blur in the first, the second and small views"
    )
    solarize: Probability = Field(default=0.2, description="of inverted highlights in the second global view")
    channel_jitter: Probability = Field(
        default=0.0,
        description="of a contrast and a sign of its own for every channel (not in DINO): where colour is no content",
    )
    channel_shift: Probability = Field(
        default=0.0,
        description="of a mean of its own for every channel, whatever it was (not in DINO): where colour is no content",
    )
    # Evaluation
    evaluate: tuple[Readout, ...] = Field(
        default=("knn", "linear"), min_length=1, description="how the teacher's features are measured, by labels"
    )
    knn_k: int = Field(default=20, ge=1, le=10_000, description="neighbours that vote")
    linear_blocks: int = Field(
        default=1,
        ge=1,
        le=64,
        description="last blocks whose features a linear probe sees (4 for a ViT-S in the paper)",
    )
    linear_epochs: int = Field(default=100, ge=1, le=100_000, description="epochs of a linear probe")
    linear_lr: float = Field(default=0.1, gt=0, description="learning rate of a linear probe on standardised features")

    def view_sizes(self, img_size: tuple[int, int]) -> list[tuple[int, int]]:
        """(height, width) of every view of an image, the two global ones first, for that of the model's input."""
        height, width = (self.local_size or round(3 * side / 7) for side in img_size)
        return [img_size] * 2 + [(height, width)] * self.local_crops

    @property
    def measured(self) -> tuple[str, ...]:
        left_out = {"knn", "linear"} - set(self.evaluate)
        if self.loss == "mse":  # no distributions
            left_out |= {"teacher", "target"}
        return tuple(name for name in self.metrics if name.split("_")[0] not in left_out)
