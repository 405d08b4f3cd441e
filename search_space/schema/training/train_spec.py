"""Spec of a training: its length, optimizer, schedule, loss, augmentation, averaging and precision."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from search_space.schema.attention import Spec
from search_space.schema.training.seeding import Seeding
from search_space.schema.training.values import Channels, ColorJitter, CosineRegulariserSpec, Frozen, Option, Range

__all__ = ["TrainSpec"]


class TrainSpec(Spec):
    """Training of a trial; names and meanings of the fields are timm's."""

    epochs: int = Field(
        default=10,
        ge=0,
        le=1_000_000,
        description="0: nothing is trained, the weights of `arch.weights` are measured as they are",
    )
    steps: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="updates of the whole training, in `epochs` equal parts with an evaluation after each; default: an "
        "epoch is once through the training images",
    )
    batch_size: int = Field(default=128, ge=1, le=1_000_000)
    grad_accum_steps: int = Field(
        default=1,
        ge=1,
        le=100_000,
        description="batches whose mean gradient is one update; an epoch's last has the rest",
    )
    opt: str = "adamw"
    opt_eps: float | None = Field(
        default=None, gt=0, le=1, description="epsilon of the optimizer; default: the optimizer's"
    )
    opt_betas: tuple[Annotated[float, Field(ge=0, lt=1)], ...] | None = Field(
        default=None, min_length=1, max_length=4, description="betas of the optimizer; default: the optimizer's"
    )
    opt_kwargs: dict[str, Option] = Field(
        default_factory=dict, description="further arguments of the optimizer, such as {nesterov: false}"
    )
    lr: float = Field(default=1e-3, gt=0)
    lr_base: float | None = Field(
        default=None,
        gt=0,
        description="learning rate of a batch of `lr_base_size` images, in place of `lr`, which it makes "
        "proportional to `batch_size * grad_accum_steps`",
    )
    lr_base_size: int = Field(default=256, ge=1, le=1_000_000_000, description="images of the batch of `lr_base`")
    lr_base_scale: Literal["linear", "sqrt"] | None = Field(
        default=None,
        description="how `lr_base` grows with the batch; default: timm's, `sqrt` of optimizers with `ada` or `lamb` "
        "in their name, else `linear`",
    )
    weight_decay: float = Field(default=0.05, ge=0)
    weight_decay_end: float | None = Field(
        default=None, ge=0, description="weight decay goes there by a cosine over all updates; default: it is constant"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1)
    layer_decay: float | None = Field(default=None, gt=0, le=1)
    head_lr_scale: float | None = Field(
        default=None, gt=0, le=1e6, description="factor of the learning rate of the classifier, or of a task's heads"
    )
    freeze: Frozen = Field(
        default=(),
        max_length=100,
        description="what is not trained: `backbone` (all but the head: a linear probe), `embed`, `first:K` "
        "(embeddings and K blocks), or patterns of parameter names with `*`",
    )
    layer_decay_min_scale: float = Field(
        default=0.0, ge=0, le=1, description="smallest factor of a layer's learning rate by `layer_decay`"
    )
    layer_decay_no_opt_scale: float | None = Field(
        default=None, gt=0, le=1, description="layers whose factor is below it are not trained; default: all are"
    )
    sched: str = "cosine"
    sched_on_updates: bool = Field(
        default=True, description="the schedule moves after every update; false (timm's default): after every epoch"
    )
    warmup_epochs: int = Field(default=0, ge=0)
    warmup_lr: float = Field(default=1e-6, ge=0)
    warmup_prefix: bool = Field(
        default=False,
        description="the schedule begins after the warm-up, within `epochs`, so that the two join at `lr`; "
        "false (timm's default): it runs under the warm-up",
    )
    min_lr: float = Field(default=1e-5, ge=0)
    decay_rate: float = Field(
        default=0.1,
        gt=0,
        le=10,
        description="factor of each decay of `step` and `multistep`; the power of `poly`",
    )
    decay_epochs: int | None = Field(
        default=None, ge=1, description="epochs between two decays of `step`; default: timm's 90"
    )
    decay_milestones: tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...] = Field(
        default=(), max_length=100, description="epochs of the decays of `multistep`; default: timm's 90, 180, 270"
    )
    cooldown_epochs: int = Field(
        default=0, ge=0, description="last epochs, within `epochs`, in which the learning rate stays at `min_lr`"
    )
    lr_cycle_limit: int = Field(default=1, ge=1, le=1000, description="cycles of the schedule, within `epochs`")
    lr_cycle_mul: float = Field(default=1.0, gt=0, le=100, description="length of a cycle over that of the one before")
    lr_cycle_decay: float = Field(
        default=0.5, gt=0, le=1, description="highest learning rate of a cycle over that of the one before"
    )
    lr_k_decay: float = Field(
        default=1.0, gt=0, le=100, description="k-decay of `cosine` and `poly`: above 1 the rate stays high for longer"
    )
    lr_noise: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = Field(
        default=None,
        min_length=1,
        max_length=2,
        description="shares of the schedule at which noise of the learning rate begins (and ends); default: none",
    )
    lr_noise_pct: float = Field(default=0.67, gt=0, le=1, description="limit of that noise, as a share of the rate")
    lr_noise_std: float = Field(default=1.0, ge=0.01, le=100, description="standard deviation of that noise")
    clip_grad: float | None = Field(default=None, gt=0)
    clip_mode: Literal["norm", "value", "agc", "parameter"] = Field(
        default="norm",
        description="what `clip_grad` bounds: the norm of the whole gradient, every entry, a share of each weight's "
        "norm (AGC), or the norm of each parameter's gradient (DINO)",
    )
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    bce_loss: bool = Field(default=False, description="binary cross-entropy of every class in place of the softmax's")
    bce_sum: bool = Field(default=False, description="sum of that loss over the classes; false: their mean")
    bce_target_thresh: float | None = Field(
        default=None, ge=0, lt=1, description="smoothed and mixed targets above it are 1, others 0; default: they stay"
    )
    bce_pos_weight: float | None = Field(
        default=None, gt=0, le=1_000_000, description="weight of an image's own class in that loss; default: 1"
    )
    jsd_loss: bool = Field(
        default=False,
        description="cross-entropy of clean images and the Jensen-Shannon divergence between their `aug_splits`",
    )
    head_init_scale: float | None = Field(
        default=None, ge=0, le=1e6, description="factor of the classifier's first weights and bias"
    )
    head_init_bias: float | None = Field(
        default=None, ge=-1e6, le=1e6, description="the classifier's first bias, of every class"
    )
    mixup: float = Field(default=0.0, ge=0)
    cutmix: float = Field(default=0.0, ge=0)
    cutmix_minmax: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] | None = Field(
        default=None, description="range of a CutMix box's sides over the image's, in place of `cutmix`"
    )
    mixup_prob: float = Field(default=1.0, gt=0, le=1, description="share of batches that are mixed")
    mixup_switch_prob: float = Field(
        default=0.5, ge=0, le=1, description="share of CutMix where both mixup and CutMix are set"
    )
    mixup_mode: Literal["batch", "pair", "elem"] = Field(
        default="batch", description="what has a mixing proportion of its own: a batch, a pair or an image"
    )
    mixup_off_epoch: int = Field(default=0, ge=0, description="epochs after which nothing is mixed; 0: never")
    # Augmentation
    no_aug: bool = Field(
        default=False, description="no augmentation of images that timm's loader reads: whole, resized to the input"
    )
    scale: Range | None = Field(
        default=None,
        description="range of a random crop's share of the area; default: timm's [0.08, 1] where timm's loader reads "
        "the images, whole images where they are held in memory",
    )
    ratio: Range | None = Field(
        default=None, description="range of that crop's width over its height; default: timm's [3/4, 4/3]"
    )
    train_crop_mode: Literal["rrc", "rkrc", "rkrr"] | None = Field(
        default=None,
        description="timm's random crop: RandomResizedCrop (`rrc`, the default), or the image scaled at random with "
        "its proportions, and the middle (`rkrc`) or any part (`rkrr`) of it",
    )
    hflip: float = Field(default=0.0, ge=0, le=1)
    vflip: float = Field(default=0.0, ge=0, le=1)
    crop_padding: int = Field(
        default=0, ge=0, description="random crop after padding by this many pixels (in-memory datasets)"
    )
    train_interpolation: Literal["random", "bilinear", "bicubic", "nearest", "box", "hamming", "lanczos"] | None = (
        Field(default=None, description="of training images; `random`: bilinear or bicubic; default: bilinear")
    )
    aa: str | None = Field(
        default=None, description="timm's auto-augment string: rand-m9-mstd0.5-inc1, augmix-m5, original, v0r, 3a, ..."
    )
    color_jitter: ColorJitter = Field(
        default=0.0,
        description="strength of jitter in brightness, contrast and saturation, or [b, c, s] or [b, c, s, hue]",
    )
    color_jitter_prob: float | None = Field(
        default=None, gt=0, lt=1, description="share of images that colour jitter changes; default: all"
    )
    grayscale_prob: float = Field(default=0.0, ge=0, le=1, description="share of images whose colour is removed")
    gaussian_blur_prob: float = Field(default=0.0, ge=0, le=1, description="share of images that are blurred")
    reprob: float = Field(default=0.0, ge=0, le=1, description="random erasing probability")
    remode: Literal["const", "rand", "pixel"] = Field(
        default="const",
        description="what random erasing fills with: the mean, one random colour, or random pixels (timm's train.py)",
    )
    recount: int = Field(default=1, ge=1, le=100, description="most boxes that random erasing makes in an image")
    aug_repeats: int = Field(
        default=0,
        ge=0,
        le=100,
        description="repeated augmentation: an image comes so often in a row, each time augmented again, and an epoch "
        "has fewer images instead of more updates; 0: off",
    )
    aug_splits: int = Field(
        default=0,
        ge=0,
        le=16,
        description="an image comes so often in a batch: once cropped and flipped only, and then each time with the "
        "colours of `aa`, `color_jitter`, ... changed again; 0: off",
    )
    resplit: bool = Field(default=False, description="random erasing leaves the first of `aug_splits` whole")
    mean: Channels | None = Field(
        default=None, description="what is subtracted from pixels in 0..1, or `model` (timm's); default: the dataset's"
    )
    std: Channels | None = Field(default=None, description="what they are divided by then, in the same way")
    ema_decay: float | None = Field(
        default=None, gt=0, lt=1, description="evaluate an exponential moving average of the weights"
    )
    model_ema_warmup: bool = Field(
        default=False, description="timm's warm-up of `ema_decay`: at first the average follows the weights closely"
    )
    amp: Literal["auto", "off", "tf32", "bfloat16", "float16"] = Field(
        default="auto",
        description="`auto`: bfloat16 on a GPU, off (float32) on a CPU; `tf32`: float32 whose products a GPU "
        "rounds to 10 bits",
    )
    map_precision: Literal["float32", "as_amp"] = Field(
        default="float32",
        description="precision of attention maps that a mechanism transforms: `as_amp` lets `amp` round them, too",
    )
    deterministic: bool = Field(
        default=False, description="only kernels that give the same bits every time; one that has none is an error"
    )
    numerics: Literal["auto", "single"] = Field(
        default="auto",
        description="`single` rounds as earlier versions did on a CPU, operation by operation; `auto` takes faster "
        "kernels, and seeds that train together, which compute the same in another order of operations",
    )
    recompute_maps: bool = Field(
        default=False,
        description="Refiner and Re-attention compute their maps again in the backward pass instead of keeping them, "
        "on every device, for a fraction of the memory",
    )
    recalibrate_bn: int = Field(
        default=16,
        ge=0,
        description="training batches that re-estimate the BatchNorms inside attention maps before every "
        "evaluation, and all of an untrained network that features are compared with; 0: off",
    )
    cosine_regulariser: CosineRegulariserSpec | None = Field(
        default=None, description="penalty on similar attention maps of adjacent blocks: {pairs: 12, weight: 0.1}"
    )

    seeding: Seeding = Field(
        default=Seeding(),
        # Not written where it is the default: settings are as they were before there was a choice.
        exclude_if=lambda seeding: seeding == Seeding(),
        description="what a seed decides; written as `seeds: {vary: ...}` or `seeds: {crossed: ...}`",
    )

    @property
    def peak_lr(self) -> float:
        """`lr`, or what `lr_base` is for a batch of this training by timm's rule."""
        if self.lr_base is None:
            return self.lr
        ratio = self.batch_size * self.grad_accum_steps / self.lr_base_size
        is_adaptive = any(name in self.opt.lower() for name in ("ada", "lamb"))
        scale = self.lr_base_scale or ("sqrt" if is_adaptive else "linear")
        return self.lr_base * (math.sqrt(ratio) if scale == "sqrt" else ratio)

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with one another."""
        return self.mixup > 0 or self.cutmix > 0 or self.cutmix_minmax is not None
