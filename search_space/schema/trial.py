"""Spec of a trial: architecture, task, training and seed.

Every field is part of a trial's identity (see `identity.py`): a field belongs here exactly if changing it makes another
experiment. Where a trial runs, where its data is stored and how many workers load it belong to `Resources`.

`None` means "the model's own default" (timm's, for a timm name). For `vit` and `bert` the defaults are written into the
spec, so that `require` can refer to them and explicit defaults do not change the identity.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from search_space.parsing.type_guards import is_dict
from search_space.schema.attention import Attention, SoftmaxSpec, Spec
from search_space.schema.datasets import Dataset, DigitsSpec, ShapesSpec, TimmDatasetSpec
from search_space.schema.img_size import ImgSize
from search_space.schema.pretrained import check_release, weights_text
from search_space.schema.task import ClassificationSpec, ForeignSpec, Task, TaskSpec
from search_space.schema.training.train_spec import TrainSpec
from search_space.schema.training.values import CosineRegulariserSpec, Option

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
