"""Interface of attention mechanisms: tokens in, tokens out, in one slot of a model.

A mechanism is built from a `Slot` (fixed by its site in the model) and keyword-only options (varied by a sweep). It
fits into timm's `Block` because `forward` has the signature of `timm.layers.Attention`. `attend` is the same
computation for callers that pass attention maps from block to block. If a mechanism forms a map that weights V, the map
passes through `seen`, an identity module to which probes attach forward hooks.

Sequences of different lengths are padded. A mechanism that mixes maps is then given the valid entries: those of a real
query and a real key. It must not let the others change the valid ones, so that a result does not depend on the
amount of padding.

Shapes:  B images, N tokens (prefix tokens first, then patches in row-major order), D dim, H heads, E head_dim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from timm.models import register_notrace_function, register_notrace_module
from torch import nn

from modelzoo.attention.map_kernels.chosen import Numerics
from modelzoo.attention.map_precision import Arithmetic, MapPrecision, map_arithmetic
from modelzoo.legal_values import divisors, listed
from search_space.parsing.errors import Problem, SpecError

__all__ = [
    "KeyTap",
    "MapTap",
    "Slot",
    "TokenAttention",
    "attention_batchnorms",
    "check_heads",
    "softmax_map",
    "unmasked",
]


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Sizes of an attention layer in a model: width, heads, tokens and dropout rates.

    `grid_size` is (height, width) of the patch grid; None if the mechanism receives it with every call or does not need
    it. `device` and `dtype` are those of its weights; None: torch's defaults.
    """

    dim: int
    num_heads: int
    grid_size: tuple[int, int] | None = None
    num_prefix_tokens: int = 0
    qkv_bias: bool = True
    proj_bias: bool = True
    attn_drop: float = 0.0
    proj_drop: float = 0.0
    device: torch.device | str | None = None
    dtype: torch.dtype | None = None

    @property
    def factory(self) -> dict[str, Any]:
        """`device` and `dtype`, for the constructors of layers."""
        return {"device": self.device, "dtype": self.dtype}


class MapTap(nn.Identity):
    """Identity for the attention map that weights V, so that forward hooks can record it.

    Attributes:
        watchers: how many record it now; while there are none, a mechanism may compute its output without the map.
    """

    watchers = 0


class KeyTap(nn.Identity):
    """Identity for softmax(k) (B, H, N, E), the token weights of factorised attention, which has no N x N map."""


class TokenAttention(nn.Module):
    """Base class of the mechanisms: the two linear layers and dropouts that all of them share, under their official
    names.

    Keyword-only constructor arguments are the fields of the mechanism's spec in `search_space.schema.attention`, plus
    those in `unswept`, which only official configurations set, and without those in `layout`, which connect the blocks
    of a host and are handled by `swap`.

    Attributes:
        needs_grid: Whether the mechanism depends on which tokens are neighbours in the image.
        mixes_maps: Whether `transform` turns a softmax map into the map that weights V, so that the mechanism fits
            hosts that compute the softmax map in their own way.
        has_kinks: Whether the rounding of q and k decides between different gradients (ReLU6 behind a norm, a maximum),
            so that they are computed in `map_precision`, too.
        map_precision: Precision of the maps under autocast, see `map_precision.py`.
        numerics: Kernels of the maps, see `map_kernels/chosen.py`.
    """

    unswept: ClassVar[frozenset[str]] = frozenset()
    layout: ClassVar[frozenset[str]] = frozenset()
    needs_grid: ClassVar[bool] = False
    mixes_maps: ClassVar[bool] = False
    has_kinks: bool = False

    def __init__(self, slot: Slot) -> None:
        super().__init__()
        self.slot = slot
        self.qkv = nn.Linear(slot.dim, 3 * slot.dim, bias=slot.qkv_bias, **slot.factory)
        self.attn_drop = nn.Dropout(slot.attn_drop)
        self.proj: nn.Module = nn.Linear(slot.dim, slot.dim, bias=slot.proj_bias, **slot.factory)
        self.proj_drop = nn.Dropout(slot.proj_drop)
        self.seen: nn.Module = MapTap()
        self.map_precision: MapPrecision = "float32"
        self.numerics: Numerics = "single"

    def forward(
        self, x_BND: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        """Tokens after attention. Masks are refused: all mechanisms but softmax mix tokens that a mask separates."""
        return self.attend(unmasked(x_BND, attn_mask, is_causal, type(self).__name__))[0]

    def attend(
        self, x_BND: torch.Tensor, incoming_BHNN: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Tokens after attention, and the attention map for the next block (None without an N x N map).

        Mechanisms that do not use an incoming map ignore it.
        """
        raise NotImplementedError

    def transform(self, softmax_BHNK: torch.Tensor, valid_B1NK: torch.Tensor | None = None) -> torch.Tensor:
        """Attention map that weights V, from softmax maps of N queries over K keys; only if `mixes_maps`.

        Args:
            valid_B1NK: 1 where query and key are real tokens, 0 where one is padding, in the dtype of the map; the
                result is 0 there. None: all are real.
        """
        raise NotImplementedError

    def in_map_precision(self, like: torch.Tensor) -> Arithmetic:
        """Context for all arithmetic between q k^T and the product with V; `like` is on the device of the maps."""
        return map_arithmetic(self.map_precision, like)

    def in_query_precision(self, like: torch.Tensor) -> Arithmetic:
        """Context for the layers that compute q and k from tokens such as `like`."""
        return map_arithmetic(self.map_precision if self.has_kinks else "as_amp", like)

    def value_of(self, x_BND: torch.Tensor) -> torch.Tensor:
        """v (B, H, N, E), where `qkv` computes nothing else, as in blocks without queries and keys."""
        B, N, _ = x_BND.shape
        return self.qkv(x_BND).reshape(B, N, self.slot.num_heads, -1).transpose(1, 2)

    def drop_linears(self) -> None:
        """Remove the linear layers, for hosts that keep their own and use only `transform` and `weigh`."""
        for name in ("qkv", "proj"):
            setattr(self, name, nn.Identity())

    def heads_of(self, qkv_BN3D: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """q, k and v, each (B, H, N, E), from the output of the qkv layer."""
        B, N, _ = qkv_BN3D.shape
        q_BHNE, k_BHNE, v_BHNE = qkv_BN3D.reshape(B, N, 3, self.slot.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return q_BHNE, k_BHNE, v_BHNE

    def weigh(self, attn_BMNK: torch.Tensor, v_BHKE: torch.Tensor) -> torch.Tensor:
        """Product of map and V. If there are more or fewer maps than heads, V's channels are split among the maps."""
        B, _, K, _ = v_BHKE.shape
        # A view of the same shape if there are as many; no condition, so that it can be traced symbolically.
        v_BMKE = v_BHKE.transpose(1, 2).reshape(B, K, attn_BMNK.shape[1], -1).transpose(1, 2)
        return self.seen(attn_BMNK) @ v_BMKE

    def merge(self, out_BHNE: torch.Tensor) -> torch.Tensor:
        """Output projection with dropout: (B, H, N, E) -> (B, N, D)."""
        return self.proj_drop(self.proj(out_BHNE.transpose(1, 2).flatten(2)))


# A leaf of timm's tracer: a trace through it would lose the precision of its maps.
register_notrace_module(TokenAttention)


def unmasked(x: torch.Tensor, attn_mask: torch.Tensor | None, is_causal: bool, name: str) -> torch.Tensor:
    """The tensor itself.

    Raises:
        ValueError: there is a mask. A symbolic trace asks when its graph runs.
    """
    return _unmasked(x, attn_mask, is_causal, name)


@torch.fx.wrap  # in a symbolic trace, arguments have no value, not even None
@register_notrace_function
def _unmasked(x: torch.Tensor, attn_mask: torch.Tensor | None, is_causal: bool, name: str) -> torch.Tensor:
    if attn_mask is not None or is_causal:
        raise ValueError(f"{name} does not support an attention mask; only softmax attention does")
    return x


def softmax_map(q_BHNE: torch.Tensor, k_BHNE: torch.Tensor, scale: float) -> torch.Tensor:
    """Attention map softmax(q k^T * scale); rows are queries and sum to 1."""
    return ((q_BHNE * scale) @ k_BHNE.transpose(-2, -1)).softmax(dim=-1)


def check_heads(slot: Slot) -> None:
    """Raise SpecError unless num_heads divides the width."""
    if slot.dim % slot.num_heads:
        raise SpecError(
            Problem(
                f"embed_dim % num_heads == 0 must hold, but got embed_dim={slot.dim}, num_heads={slot.num_heads}",
                path="arch.num_heads",
                hint=f"for embed_dim={slot.dim} choose num_heads from {listed(divisors(slot.dim))}",
            )
        )


def attention_batchnorms(model: nn.Module) -> list[nn.Module]:
    """BatchNorms inside the attention mechanisms of a model, in the order of its modules.

    They normalise maps whose variance is much smaller than the initial running variance of 1. In the first 150 or so
    training batches, evaluation mode therefore differs from the trained function, so these norms are recalibrated.
    """
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    attentions = [module for module in model.modules() if isinstance(module, TokenAttention)]
    return [module for attention in attentions for module in attention.modules() if isinstance(module, kinds)]
