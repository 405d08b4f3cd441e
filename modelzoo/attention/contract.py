"""What every attention mechanism of the zoo is: tokens in, tokens out, in one slot of a model.

A mechanism is built from a `Slot` (what the place in the model dictates) and keyword-only options (what a sweep
varies). It drops into timm's `Block` because `forward` has the signature of `timm.layers.Attention`. `attend` is the
same computation for callers that carry maps from block to block. Where a mechanism forms a map that weighs V, the map
passes `seen`, which computes nothing: that is where probes listen.

Shapes:  B images, N tokens (prefix tokens first, then patches in row-major order), D dim, H heads, E head_dim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from modelzoo.legal_values import divisors, listed
from search_space.parsing.errors import Problem, SpecError

__all__ = ["KeyTap", "MapTap", "Slot", "TokenAttention", "attention_batchnorms", "check_heads", "softmax_map"]


@dataclass(frozen=True, kw_only=True)
class Slot:
    """The place of an attention in a model: its width, its heads, its tokens and its dropouts.

    `grid_size` is (height, width) of the patch grid; None where the mechanism is told at every call or never needs it.
    """

    dim: int
    num_heads: int
    grid_size: tuple[int, int] | None = None
    num_prefix_tokens: int = 0
    qkv_bias: bool = True
    proj_bias: bool = True
    attn_drop: float = 0.0
    proj_drop: float = 0.0


class MapTap(nn.Identity):
    """Passes a map that is about to weigh V. Forward hooks on it see every such map; without hooks it is nothing."""


class KeyTap(nn.Identity):
    """The same where there is no such map: passes softmax(k) (B, H, N, E), the weights of tokens in a context."""


class TokenAttention(nn.Module):
    """Base of the mechanisms: the two linears and dropouts that all of them share, under their official names.

    Keyword-only constructor arguments are the fields of the mechanism's class in `search_space.schema.attention`, plus
    those in `unswept`, which only official configurations set, and without those in `layout`, which say how the blocks
    of a host hang together and are `swap`'s matter.

    Attributes:
        needs_grid: whether the mechanism must know which tokens are neighbours in the image.
        mixes_maps: whether `transform` turns a softmax map into the map that weighs V, so that the mechanism fits hosts
            that form such a map in their own way.
    """

    unswept: ClassVar[frozenset[str]] = frozenset()
    layout: ClassVar[frozenset[str]] = frozenset()
    needs_grid: ClassVar[bool] = False
    mixes_maps: ClassVar[bool] = False

    def __init__(self, slot: Slot) -> None:
        super().__init__()
        self.slot = slot
        self.qkv = nn.Linear(slot.dim, 3 * slot.dim, bias=slot.qkv_bias)
        self.attn_drop = nn.Dropout(slot.attn_drop)
        self.proj: nn.Module = nn.Linear(slot.dim, slot.dim, bias=slot.proj_bias)
        self.proj_drop = nn.Dropout(slot.proj_drop)
        self.seen: nn.Module = MapTap()

    def forward(
        self, x_BND: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        """Tokens after attention. Masks are refused here: all mechanisms but softmax mix what a mask would separate."""
        if attn_mask is not None or is_causal:
            raise ValueError(f"{type(self).__name__} cannot honour an attention mask; only softmax attention can")
        return self.attend(x_BND)[0]

    def attend(
        self, x_BND: torch.Tensor, incoming_BHNN: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Tokens, and the map that is handed to the next block (None where there is no N x N map).

        Mechanisms that know no incoming map ignore it.
        """
        raise NotImplementedError

    def transform(self, softmax_BHNK: torch.Tensor) -> torch.Tensor:
        """The map that weighs V, made from softmax maps of N queries over K keys; only where `mixes_maps`."""
        raise NotImplementedError

    def drop_linears(self) -> None:
        """For hosts that keep their own linears: what is left is `transform` and `weigh`."""
        for name in ("qkv", "proj"):
            setattr(self, name, nn.Identity())

    def heads_of(self, qkv_BN3D: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """q, k and v, each (B, H, N, E), from the output of the qkv linear."""
        B, N, _ = qkv_BN3D.shape
        q_BHNE, k_BHNE, v_BHNE = qkv_BN3D.reshape(B, N, 3, self.slot.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return q_BHNE, k_BHNE, v_BHNE

    def weigh(self, attn_BMNK: torch.Tensor, v_BHKE: torch.Tensor) -> torch.Tensor:
        """What the map makes of V. More or fewer maps than heads cut the channels of V anew, a slice for each map."""
        num_maps = attn_BMNK.shape[1]
        if num_maps != v_BHKE.shape[1]:
            B, _, K, _ = v_BHKE.shape
            v_BHKE = v_BHKE.transpose(1, 2).reshape(B, K, num_maps, -1).transpose(1, 2)
        return self.seen(attn_BMNK) @ v_BHKE

    def merge(self, out_BHNE: torch.Tensor) -> torch.Tensor:
        """(B, H, N, E) -> (B, N, D) through the output linear and its dropout."""
        return self.proj_drop(self.proj(out_BHNE.transpose(1, 2).flatten(2)))


def softmax_map(q_BHNE: torch.Tensor, k_BHNE: torch.Tensor, scale: float) -> torch.Tensor:
    """softmax(q k^T * scale): rows are queries and sum to 1."""
    return ((q_BHNE * scale) @ k_BHNE.transpose(-2, -1)).softmax(dim=-1)


def check_heads(slot: Slot) -> None:
    """Raises SpecError unless the heads divide the width."""
    if slot.dim % slot.num_heads:
        raise SpecError(
            Problem(
                f"embed_dim % num_heads == 0 must hold, but got embed_dim={slot.dim}, num_heads={slot.num_heads}",
                path="arch.num_heads",
                hint=f"for embed_dim={slot.dim} choose num_heads from {listed(divisors(slot.dim))}",
            )
        )


def attention_batchnorms(model: nn.Module) -> list[nn.Module]:
    """All BatchNorms inside attention mechanisms of `model`, in the order of its modules.

    They normalise maps whose variance is tiny beside their initial running variance of 1: until some 150 training
    batches have passed, evaluation mode computes something else than what was trained, so they are recalibrated.
    """
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    attentions = [module for module in model.modules() if isinstance(module, TokenAttention)]
    return [module for attention in attentions for module in attention.modules() if isinstance(module, kinds)]
