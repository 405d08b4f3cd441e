"""Swin version 2 as a host: cosine attention in windows, with a learned scale and a continuous position bias.

Paper:   Swin Transformer V2, Liu et al. 2022, arXiv:2111.09883, section 3.
Source:  written from the paper and timm's interface; equal to timm's attention at the identity (see tests).
Differs: mechanisms that mix maps get the softmax of the scaled cosines, position bias and mask; masked entries are set
         to zero again afterwards, as in Swin. Group-Mix forms no logits: it keeps the projections, uses the window as
         its grid, and its own position encoding takes the place of cosines, scale and bias.

Shapes:  B images, W windows of an image, T tokens of a window, D dim, H heads, E head_dim.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from timm.models.swin_transformer_v2 import SwinTransformerV2, SwinTransformerV2Block, WindowAttention
from torch import nn
from torch.nn import functional as F

from modelzoo.attention import ATTENTION, Slot
from modelzoo.attention.contract import TokenAttention
from modelzoo.hosts.grid_attention import refuse_window_mask
from modelzoo.hosts.hosted_attention import HostedAttention, adopt, mix_groups
from modelzoo.hosts.site import AttentionSite, make_mechanism
from modelzoo.hosts.swin import refined_windows, why_not_in_windows

__all__ = ["swin_v2_sites"]

_LARGEST_SCALE = math.log(100)
_LARGEST_BIAS = 16


def swin_v2_sites(model: SwinTransformerV2) -> list[AttentionSite]:
    """Attention sites of Swin version 2: one per block, stage by stage."""
    return [SwinV2Site(block) for stage in model.layers for block in stage.get_submodule("blocks").children()]


class SwinV2Site:
    """Attention site of the window attention of one block."""

    def __init__(self, block: nn.Module) -> None:
        assert isinstance(block, SwinTransformerV2Block)
        self._block = block

    @property
    def weight(self) -> torch.Tensor:
        return self._host.qkv.weight

    @property
    def _host(self) -> WindowAttention:
        assert isinstance(self._block.attn, WindowAttention)
        return self._block.attn

    @property
    def slot(self) -> Slot:
        host = self._host
        height, width = host.window_size
        return Slot(
            dim=host.dim,
            num_heads=host.num_heads,
            grid_size=(int(height), int(width)),
            attn_drop=host.attn_drop.p,
            proj_drop=host.proj_drop.p,
        )

    def why_not(self, name: str) -> str | None:
        return why_not_in_windows(name, any(self._block.shift_size))

    def replaces(self, name: str) -> list[str]:
        if name != "groupmix":
            return []
        return [
            "cosine similarity of queries and keys and its scale (logit_scale)",
            "continuous relative position bias (cpb_mlp)",
        ]

    def put(self, name: str, options: Mapping[str, Any]) -> None:
        mechanism = make_mechanism(name, self.slot, options, self._host.qkv)
        kind = CosineMapAttention if ATTENTION[name].mixes_maps else WindowGroupMixAttention
        self._block.register_module("attn", kind(self._host, mechanism))


class CosineMapAttention(HostedAttention):
    """timm's cosine attention with a mechanism that transforms its maps before they weigh V."""

    logit_scale: nn.Parameter
    cpb_mlp: nn.Module
    relative_coords_table: torch.Tensor
    relative_position_index: torch.Tensor
    attn_drop: nn.Module

    def __init__(self, host: WindowAttention, mechanism: TokenAttention) -> None:
        super().__init__(host, mechanism)
        adopt(self, host, "logit_scale", "cpb_mlp", "relative_coords_table", "relative_position_index", "attn_drop")
        self.window_size = host.window_size

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        with self.mechanism.in_query_precision(x) as wide:
            q, k, v = (each.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in self.project(wide(x)))
        scale = self.logit_scale.clamp(max=_LARGEST_SCALE).exp()
        with self.mechanism.in_map_precision(q) as wide:
            cosines = F.normalize(wide(q), dim=-1) @ F.normalize(wide(k), dim=-1).transpose(-2, -1)
            attn = refined_windows(self.mechanism, self.attn_drop, cosines * scale + self._position_bias(), mask)
        return self.finish(x, self.mechanism.weigh(attn, v).transpose(1, 2).flatten(2))

    def _position_bias(self) -> torch.Tensor:
        """Bias (H, T, T) of every pair of positions, from their distances."""
        index_TT = self.relative_position_index
        table = self.cpb_mlp(self.relative_coords_table).view(-1, self.num_heads)
        bias_HTT = table[index_TT.flatten()].view(*index_TT.shape, -1).permute(2, 0, 1)
        return _LARGEST_BIAS * bias_HTT.sigmoid()


class WindowGroupMixAttention(HostedAttention):
    """The host's projections around Group-Mix, for `attn(windows, mask=None)`: every window is an image of its own."""

    def __init__(self, host: WindowAttention, mechanism: TokenAttention) -> None:
        super().__init__(host, mechanism)
        self.window_size = host.window_size

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        refuse_window_mask(mask)
        return mix_groups(self, x)
