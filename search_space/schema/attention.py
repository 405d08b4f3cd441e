"""Specs of the attention mechanisms: the options below `arch.attention` of a sweep.

The mechanisms are implemented in `modelzoo/attention/<name>.py`, and a contract test keeps the two tables consistent.
The options are declared apart so that a sweep can be checked, completed in an editor and identified without torch.
Those of a plug-in are read from the constructor of its class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticKnownError

from search_space.plugins.open_union import OpenUnion
from search_space.plugins.spec_table import SpecTable

__all__ = [
    "ATTENTION_SPECS",
    "RELEASED_KERNELS",
    "Attention",
    "AttentionSpec",
    "Blocks",
    "EveryBlocks",
    "FirstBlocks",
    "GroupMixSpec",
    "LastBlocks",
    "OnlyWhole",
    "ReattentionSpec",
    "RefinerSpec",
    "SoftmaxSpec",
    "Spec",
]


class Spec(BaseModel):
    """Base class of all sections of a sweep file: immutable, without unknown keys."""

    # `defer_build`: a sweep is built in one piece when it is first read, and its parts only where they are read alone.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, defer_build=True)


def _only_whole(value: Any) -> Any:
    if isinstance(value, bool | float):
        raise PydanticKnownError("int_type")
    return value


OnlyWhole = BeforeValidator(_only_whole)
"""For a `Literal` of numbers, which by itself takes `true` and `1.0` for 1: they compare equal in Python."""


class LastBlocks(Spec):
    """The last k blocks."""

    last: int = Field(ge=1)


class FirstBlocks(Spec):
    """The first k blocks."""

    first: int = Field(ge=1)


class EveryBlocks(Spec):
    """Every k-th block, counted so that the last block of each group of k is chosen (2: blocks 1, 3, 5, ...)."""

    every: int = Field(ge=1)


def _blocks_tag(value: Any) -> str | None:
    if isinstance(value, str):
        return "all"
    if isinstance(value, list | tuple):
        return "list"
    names = ("last", "first", "every")
    found = (name for name in names if (name in value if isinstance(value, dict) else hasattr(value, name)))
    return next((f"{name} k" for name in found), None)  # not the plain name, which could be mistaken for a key


Blocks = Annotated[
    Annotated[Literal["all"], Tag("all")]
    | Annotated[LastBlocks, Tag("last k")]
    | Annotated[FirstBlocks, Tag("first k")]
    | Annotated[EveryBlocks, Tag("every k")]
    | Annotated[tuple[Annotated[int, Field(ge=0)], ...], Tag("list")],
    Discriminator(_blocks_tag),
]
"""Blocks that use the mechanism; the others keep the model's own attention. Indices of a list are 0-based."""


class AttentionSpec(Spec):
    """Base of the mechanisms' specs."""

    name: str


class SoftmaxSpec(AttentionSpec):
    """Softmax attention (Vaswani et al. 2017), computed by the fused kernel."""

    name: Literal["softmax"] = "softmax"  # pyright: ignore[reportIncompatibleVariableOverride]


class ReattentionSpec(AttentionSpec):
    """Re-attention (DeepViT, arXiv 2103.11886, eq. 3): heads exchange their maps, then BatchNorm."""

    name: Literal["reattention"] = "reattention"  # pyright: ignore[reportIncompatibleVariableOverride]
    blocks: Blocks = "all"
    transform_scale: bool = Field(
        default=False, description="multiply the mixed map by head_dim ** -0.5 (DeepViT-S does, -L does not)"
    )
    theta_bias: bool = Field(
        default=True,
        description="a learned bias per head after the mixing (official: true), which `norm: batch` takes away",
    )
    theta_init: Literal["random", "identity"] = Field(
        default="random", description="initialisation of the mixing matrix: uniform (official), or the identity"
    )
    norm: Literal["batch", "layer", "none"] = Field(
        default="batch",
        description="norm after the mixing: per head over images and token pairs (official), over the heads of each "
        "pair, or none",
    )
    norm_momentum: float = Field(
        default=0.1, gt=0, le=1, description="weight of the newest batch in the running statistics of `norm: batch`"
    )
    placebo: bool = Field(
        default=False,
        description="same parameters and cost, no mechanism: heads do not exchange maps",
    )


def _sharing_tag(value: Any) -> str:
    return "name" if isinstance(value, str) else "number"


Sharing = Annotated[
    Annotated[Literal["none", "alternate"], Tag("name")] | Annotated[int, Field(ge=2, le=100), Tag("number")],
    Discriminator(_sharing_tag),
]
"""How many blocks take the map of the block before them: none, one (`alternate`), or a number of them."""


class RefinerSpec(AttentionSpec):
    """Refined attention (Refiner, arXiv 2106.03714): attention expansion, distributed local attention, reduction."""

    name: Literal["refiner"] = "refiner"  # pyright: ignore[reportIncompatibleVariableOverride]
    blocks: Blocks = "all"
    expansion: float = Field(
        default=3.0, gt=0, le=64, description="maps after expansion per head; fractions round to whole maps"
    )
    kernel_size: int = Field(
        default=3, ge=1, le=31, description="side of the local kernel on each map; even sizes pad bottom and right"
    )
    kernel_form: Literal["square", "spatial", "row_column"] = Field(
        default="square",
        description="`square` of the map (official), `spatial`: each row of the map as an image of the patches, "
        "`row_column`: 1-D kernels along row and column, added",
    )
    reduction: bool = Field(
        default=True, description="reduce the expanded maps to num_heads; if false, every map gets its own slice of V"
    )
    identity: bool = Field(
        default=True, description="residual connection from the maps before the expansion to those after the reduction"
    )
    linear: bool = Field(
        default=False,
        description="no BatchNorm and no ReLU6 in the refinement: with `identity: false` what the paper prints",
    )
    sharing: Sharing = Field(
        default="none",
        description="`alternate`: of each pair of consecutive chosen blocks, the first has plain attention, "
        "the second computes only V and refines the map of the first (as released); a number from 2: so many blocks "
        "behind each with plain attention",
    )
    refine_shared: bool = Field(
        default=True, description="blocks without a map of their own refine the one they get; if false, it stays as is"
    )
    residual_map: bool = Field(
        default=False, description="add head_dim ** -0.5 times the previous block's map after the softmax (as released)"
    )
    placebo: bool = Field(
        default=False,
        description="same parameters and cost, no mechanism: each head by itself, kernels see no neighbours",
    )


RELEASED_KERNELS = (3, 5, 7)
"""Kernels of Group-Mix's release. Written, they are the same experiment as the default: where they fit a host, the
default is these, and where they do not, nothing can be trained with them."""


class GroupMixSpec(AttentionSpec):
    """Group-Mix attention (GroupMixFormer, arXiv 2311.15157)."""

    name: Literal["groupmix"] = "groupmix"  # pyright: ignore[reportIncompatibleVariableOverride]
    blocks: Blocks = "all"
    kernel_sizes: tuple[Annotated[int, Field(ge=1, le=31)], ...] | None = Field(
        default=None,
        description="neighbourhood of each group segment (1: none); "
        "segments = 1 (tokens) + len(kernel_sizes) + 1 (local branch); default: [3, 5, 7], or in a timm model of "
        "its own width and heads that these do not fit the first of [3, 5] and [3] that does",
    )
    num_segments: int | None = Field(
        default=None, ge=1, le=64, description="total number of segments; repeats or truncates `kernel_sizes` to fit"
    )
    aggregator: Literal["dwconv", "maxpool", "avgpool"] = Field(
        default="dwconv", description="aggregation of a group segment's neighbourhood, before a 1x1 convolution"
    )
    identity_segment: bool = Field(default=True, description="a segment of tokens without aggregation")
    local_branch: bool = Field(default=True, description="a convolutional segment that bypasses attention")
    local_kernel_size: int = Field(default=3, ge=1, le=31, description="kernel size of the local branch")
    token_ensemble: bool = Field(
        default=True,
        description="output projection that mixes heads and local branch; if false, they are not mixed",
    )
    head_layout: Literal["in_order", "straddle"] = Field(
        default="in_order",
        description="`straddle`: every head has channels of every segment (official: of one or two segments)",
    )
    crpe: bool = Field(default=True, description="convolutional relative position encoding")
    position_windows: tuple[Annotated[int, Field(ge=1, le=31)], ...] = Field(
        default=(3, 5, 7), min_length=1, description="windows of `crpe`, divided among the heads as evenly as possible"
    )
    placebo: bool = Field(
        default=False, description="same parameters and cost, no mechanism: no convolution sees neighbours"
    )


_OWN_SPECS: dict[str, type[AttentionSpec]] = {
    "softmax": SoftmaxSpec,
    "reattention": ReattentionSpec,
    "refiner": RefinerSpec,
    "groupmix": GroupMixSpec,
}


ATTENTION_SPECS: Mapping[str, type[AttentionSpec]] = SpecTable(
    "attention", _OWN_SPECS, AttentionSpec, also={"blocks": (Blocks, "all")}
)
"""Mechanism -> spec of its options."""


if TYPE_CHECKING:  # those of plug-ins have the fields of their constructors
    Attention = SoftmaxSpec | ReattentionSpec | RefinerSpec | GroupMixSpec
else:
    Attention = Annotated[AttentionSpec, OpenUnion(ATTENTION_SPECS, short="listed")]
"""`attention: NAME` or `attention: {name: NAME, ...options}`."""
