"""Block of DeepViT: pre-norm, with a residual scale and access to its attention map.

Paper:   DeepViT: Towards Deeper Vision Transformer, Zhou et al. 2021, arXiv:2103.11886.
Source:  written from the paper and from the released configurations (MIT); parity with the released model is tested.

Shapes:  B images, N tokens (class token first), D embed_dim.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import DropPath, Mlp
from timm.models import register_notrace_module
from torch import nn

from modelzoo.attention.contract import TokenAttention, unmasked
from modelzoo.hosts.map_carrying import hand_on, handed_map

__all__ = ["MapReuseBlock", "ReattentionBlock", "scaled"]


class ReattentionBlock(nn.Module):
    """Pre-norm block with a residual scale s: x + attn(norm1(s x)) / s, then x + mlp(norm2(s x)) / s."""

    def __init__(
        self,
        attn: nn.Module,
        dim: int,
        *,
        mlp_ratio: float,
        proj_bias: bool,
        proj_drop: float,
        drop_path: float,
        norm_layer: Any,
        act_layer: Any,
        residual_scale: float,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.residual_scale = residual_scale
        self.norm1 = norm_layer(dim, **factory)
        self.attn = attn
        self.drop_path1 = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.norm2 = norm_layer(dim, **factory)
        hidden = int(dim * mlp_ratio)
        self.mlp = Mlp(dim, hidden, act_layer=act_layer, bias=proj_bias, drop=proj_drop, **factory)
        self.drop_path2 = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(
        self, x_BND: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        seen = self.norm1(scaled(x_BND, self.residual_scale))
        return self._add(x_BND, self.attn(seen, attn_mask=attn_mask, is_causal=is_causal))

    def attend(self, x_BND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Tokens and the attention map that weights V; requires an attention of the zoo."""
        assert isinstance(self.attn, TokenAttention)
        mixed_BND, attn_BHNN = self.attn.attend(self.norm1(scaled(x_BND, self.residual_scale)))
        return self._add(x_BND, mixed_BND), attn_BHNN

    def _add(self, x_BND: torch.Tensor, mixed_BND: torch.Tensor) -> torch.Tensor:
        back = 1 / self.residual_scale
        x_BND = x_BND + scaled(self.drop_path1(mixed_BND), back)
        return x_BND + scaled(self.drop_path2(self.mlp(self.norm2(scaled(x_BND, self.residual_scale)))), back)


class MapReuseBlock(ReattentionBlock):
    """A block that hands on the softmax map of its attention, or the one that it was handed and used.

    The map travels with the tokens, see `hosts/map_carrying.py`.

    Args:
        takes_map: Whether the attention uses the map of an earlier block.
        hands_on: Whether the next block needs the map.
    """

    def __init__(self, attn: nn.Module, dim: int, *, takes_map: bool, hands_on: bool, **options: Any) -> None:
        super().__init__(attn, dim, **options)
        self.takes_map, self.hands_on = takes_map, hands_on

    def forward(
        self, x_BND: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        return self.attend(unmasked(x_BND, attn_mask, is_causal, type(self).__name__))[0]

    def attend(self, x_BND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Tokens, and the softmax map that the block has formed or was handed."""
        assert isinstance(self.attn, TokenAttention)
        incoming_BHNN = handed_map(x_BND) if self.takes_map else None
        mixed_BND, shared_BHNN = self.attn.attend(self.norm1(scaled(x_BND, self.residual_scale)), incoming_BHNN)
        x_BND = self._add(x_BND, mixed_BND)
        if self.hands_on:
            hand_on(x_BND, shared_BHNN)
        return x_BND, shared_BHNN


# A leaf of timm's tracer: a graph of its parts would lose the map that travels with the tokens.
register_notrace_module(MapReuseBlock)


def scaled(x: torch.Tensor, factor: float) -> torch.Tensor:
    """x * factor, without a copy if the factor is 1."""
    return x if factor == 1 else x * factor
