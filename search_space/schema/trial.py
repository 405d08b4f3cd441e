"""Spec of a trial: architecture, task, training and seed.

Every field is part of a trial's identity (see `identity.py`): a field belongs here exactly if changing it makes another
experiment. Where a trial runs, where its data is stored and how many workers load it belong to `Resources`.

`None` means "the model's own default" (timm's, for a timm name). For `vit` and `bert` the defaults are written into the
spec, so that `require` can refer to them and explicit defaults do not change the identity.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from search_space.parsing.type_guards import is_dict, is_list_or_tuple
from search_space.schema.attention import Attention, SoftmaxSpec, Spec
from search_space.schema.datasets import Dataset, DigitsSpec, ShapesSpec, TimmDatasetSpec
from search_space.schema.img_size import ImgSize
from search_space.schema.pretrained import check_release, weights_text
from search_space.schema.task import ClassificationSpec, ForeignSpec, Task, TaskSpec

__all__ = [
    "BERT_DEFAULTS",
    "VIT_DEFAULTS",
    "ArchSpec",
    "ClassificationSpec",
    "CosineRegulariserSpec",
    "Dataset",
    "DigitsSpec",
    "Setting",
    "ShapesSpec",
    "TaskSpec",
    "TimmDatasetSpec",
    "TrainSpec",
    "TrialSpec",
]

Scalar = bool | int | float | str
Option = Scalar | tuple[Scalar | tuple[Scalar, ...], ...]

VIT_DEFAULTS: dict[str, Any] = {
    "depth": 12,
    "embed_dim": 192,
    "num_heads": 3,
    "mlp_ratio": 4.0,
    "patch_size": 16,
    "qkv_bias": True,
    "class_token": True,
    "global_pool": "token",
}


BERT_DEFAULTS: dict[str, Any] = {"depth": 4, "embed_dim": 128, "num_heads": 4, "mlp_ratio": 4.0}
"""A BERT that a CPU trains. BERT-small of the papers is 4, 512, 8, 4.0."""


def _untagged(model: str) -> str:
    """The name; a tag behind it (`.augreg_in21k`) names pretrained weights, and would train from scratch silently."""
    plain, dot, _ = model.partition(".")
    if dot and ":" not in model:  # names with a source are refused as unknown
        raise ValueError(
            "must be a model's name without the tag of its weights, "
            f"because trials train from scratch unless arch.weights is set (write {plain!r})"
        )
    return model


class ArchSpec(Spec):
    """Architecture of a model; field names are timm's."""

    model: Annotated[str, AfterValidator(_untagged)] = Field(
        default="vit",
        min_length=1,
        description="`vit` with configurable sizes, any timm model name without a tag, or `bert` (task `text`)",
    )
    depth: int | None = Field(default=None, ge=1, le=1000)
    embed_dim: int | None = Field(default=None, ge=1, le=65_536)
    num_heads: int | None = Field(default=None, ge=1, le=4096)
    mlp_ratio: float | None = Field(default=None, gt=0, le=256)
    patch_size: int | None = Field(default=None, ge=1, le=4096)
    img_size: ImgSize | None = Field(
        default=None, description="side or [height, width]; default: the dataset's (`vit`) or the model's"
    )
    qkv_bias: bool | None = None
    class_token: bool | None = None
    global_pool: Literal["avg", "token", "avgmax", "max", "map"] | None = Field(
        default=None, description="`vit`: `token` with a class token, else `avg`"
    )
    drop_path_rate: float = Field(default=0.0, ge=0, lt=1)
    proj_drop_rate: float = Field(default=0.0, ge=0, lt=1)
    attn_drop_rate: float = Field(default=0.0, ge=0, lt=1)
    attention: Attention = SoftmaxSpec()
    weights: Annotated[str, AfterValidator(weights_text)] | None = Field(
        default=None,
        min_length=1,
        description="first weights: a file, `timm:TAG` for what timm releases, or `run:DIRECTORY/VARIANT` or "
        "`study:STUDY/VARIANT` for what a trial of the same seed kept (`@SEED` behind it: of that seed; "
        "VARIANT `*`: of the trial that is the same but for its length); default: fresh ones",
    )
    options: dict[str, Option] = Field(
        default_factory=dict, description="further constructor arguments of the timm model; lists as in YAML"
    )

    @model_validator(mode="before")
    @classmethod
    def _spell_out_sizes(cls, data: Any) -> Any:
        model = data.get("model", "vit") if is_dict(data) else None
        if not is_dict(data) or model not in ("vit", "bert"):
            return data
        defaults = dict(BERT_DEFAULTS if model == "bert" else VIT_DEFAULTS)
        if model == "vit" and data.get("class_token") is False:
            defaults["global_pool"] = "avg"
        return {**data, **{key: value for key, value in defaults.items() if data.get(key) is None}}

    @model_validator(mode="after")
    def _weights_are_of_the_model(self) -> ArchSpec:
        if self.weights is not None:
            check_release(self.model, self.weights)
        return self


def _listed(value: Any) -> Any:
    """One text as a list of it. A list becomes a tuple here: behind a validator pydantic takes no list for one."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if is_list_or_tuple(value) else value


Frozen = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
    BeforeValidator(_listed, json_schema_input_type=str | list[str]),
]
"""One pattern, or several."""


class CosineRegulariserSpec(Spec):
    """Cosine regulariser of DeepViT: loss + weight * similarity of the maps of adjacent blocks over the heads."""

    pairs: int = Field(default=12, ge=1, le=1000, description="pairs of adjacent blocks, from the first block on")
    weight: float = Field(default=0.1, gt=0)


def _jitter_tag(value: Any) -> str:
    return "list" if isinstance(value, list | tuple) else "number"


def _channels_tag(value: Any) -> str:
    return "name" if isinstance(value, str) else "list"


Range = tuple[Annotated[float, Field(gt=0, le=100)], Annotated[float, Field(gt=0, le=100)]]
Strength = Annotated[float, Field(ge=0, le=100)]
ColorJitter = Annotated[
    Annotated[Strength, Tag("number")]
    | Annotated[Annotated[tuple[Strength, ...], Field(min_length=3, max_length=4)], Tag("list")],
    Discriminator(_jitter_tag),
]
Channels = Annotated[
    Annotated[Literal["model"], Tag("name")]
    | Annotated[Annotated[tuple[float, ...], Field(min_length=1, max_length=3)], Tag("list")],
    Discriminator(_channels_tag),
]


class TrainSpec(Spec):
    """Training of a trial; names and meanings of the fields are timm's."""

    epochs: int = Field(default=10, ge=1, le=1_000_000)
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
    lr: float = Field(default=1e-3, gt=0)
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
    recalibrate_bn: int = Field(
        default=16,
        ge=0,
        description="training batches that re-estimate the BatchNorms inside attention maps before every "
        "evaluation, and all of an untrained network that features are compared with; 0: off",
    )
    cosine_regulariser: CosineRegulariserSpec | None = Field(
        default=None, description="penalty on similar attention maps of adjacent blocks: {pairs: 12, weight: 0.1}"
    )

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with one another."""
        return self.mixup > 0 or self.cutmix > 0 or self.cutmix_minmax is not None


class Setting(Spec):
    """Trial without its seed: architecture, task and training of a variant or of the baseline."""

    arch: ArchSpec = ArchSpec()
    task: Task = ClassificationSpec()
    train: TrainSpec = TrainSpec()

    @property
    def num_epochs(self) -> int | None:
        """How often a trial reports; None where a training of the user's own does not say."""
        return self.task.epochs if isinstance(self.task, ForeignSpec) else self.train.epochs

    def with_seed(self, seed: int) -> TrialSpec:
        return TrialSpec(arch=self.arch, task=self.task, train=self.train, seed=seed)


class TrialSpec(Setting):
    """Trial: one training of one variant with one seed."""

    seed: int = Field(default=0, ge=0, lt=2**31)

    @property
    def setting(self) -> Setting:
        return Setting(arch=self.arch, task=self.task, train=self.train)
