"""Spec of a trial: architecture, task, training and seed.

Every field is part of a trial's identity (see `identity.py`): a field belongs here exactly if changing it makes another
experiment. Where a trial runs, where its data is stored and how many workers load it belong to `Resources`.

`None` means "the model's own default" (timm's, for a timm name). For `vit` and `bert` the defaults are written into the
spec, so that `require` can refer to them and explicit defaults do not change the identity.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from search_space.parsing.type_guards import is_dict
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
    return (value,) if isinstance(value, str) else value


Frozen = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
    BeforeValidator(_listed, json_schema_input_type=str | list[str]),
]
"""One pattern, or several."""


class CosineRegulariserSpec(Spec):
    """Cosine regulariser of DeepViT: loss + weight * similarity of the maps of adjacent blocks over the heads."""

    pairs: int = Field(default=12, ge=1, le=1000, description="pairs of adjacent blocks, from the first block on")
    weight: float = Field(default=0.1, gt=0)


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
    opt: str = "adamw"
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
    sched: str = "cosine"
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
    clip_grad: float | None = Field(default=None, gt=0)
    clip_mode: Literal["norm", "value", "agc", "parameter"] = Field(
        default="norm",
        description="what `clip_grad` bounds: the norm of the whole gradient, every entry, a share of each weight's "
        "norm (AGC), or the norm of each parameter's gradient (DINO)",
    )
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    mixup: float = Field(default=0.0, ge=0)
    cutmix: float = Field(default=0.0, ge=0)
    hflip: float = Field(default=0.0, ge=0, le=1)
    crop_padding: int = Field(
        default=0, ge=0, description="random crop after padding by this many pixels (in-memory datasets)"
    )
    aa: str | None = Field(default=None, description="timm's auto-augment string (datasets of timm's loader)")
    color_jitter: float = Field(default=0.0, ge=0, description="strength of colour jitter (datasets of timm's loader)")
    reprob: float = Field(default=0.0, ge=0, le=1, description="random erasing probability")
    ema_decay: float | None = Field(
        default=None, gt=0, lt=1, description="evaluate an exponential moving average of the weights"
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
