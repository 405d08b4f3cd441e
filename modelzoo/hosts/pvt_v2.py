"""PVT v2 as a host: a pyramid with queries from all tokens and keys and values from a spatially reduced map.

Paper:   PVT v2: Improved Baselines with Pyramid Vision Transformer, Wang et al. 2022, arXiv:2106.13797.
Source:  written from the paper and timm's interface; equal to timm's attention at the identity (see tests).
Differs: attention maps are N x K with fewer keys than queries. Mechanisms that mix maps use them as they are:
         Re-attention mixes heads, which does not need square maps, and Refiner convolves an image of N rows and K
         columns. Group-Mix is linear in the number of tokens, so it takes its keys and values from all tokens, with the
         host's weights and without the spatial reduction.

Shapes:  B images, N tokens, K keys, D dim, H heads, E head_dim.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from timm.models import register_notrace_module
from timm.models.pvt_v2 import Attention, PyramidVisionTransformerV2
from torch import nn

from modelzoo.attention import ATTENTION, Slot
from modelzoo.attention.contract import TokenAttention, softmax_map
from modelzoo.attention.groupmix import GroupMixAttention
from modelzoo.hosts.grid_attention import GridAttention
from modelzoo.hosts.site import AttentionSite, make_mechanism

__all__ = ["ReducedMapAttention", "pvt_v2_sites"]


def pvt_v2_sites(model: PyramidVisionTransformerV2) -> list[AttentionSite]:
    """Attention sites of PVT v2: one per block, stage by stage."""
    return [PvtSite(block) for stage in model.stages for block in stage.get_submodule("blocks").children()]


class PvtSite:
    """Attention site of one block."""

    def __init__(self, block: nn.Module) -> None:
        self._block = block

    @property
    def weight(self) -> torch.Tensor:
        return self._host.q.weight

    @property
    def _host(self) -> Attention:
        assert isinstance(self._block.attn, Attention)
        return self._block.attn

    def why_not(self, name: str) -> str | None:
        if ATTENTION[name].mixes_maps or name == "groupmix":
            return None
        return "takes its keys from a smaller map"

    def replaces(self, name: str) -> list[str]:
        is_reduced = self._host.sr is not None or self._host.pool is not None
        return ["spatial reduction of keys and values"] if name == "groupmix" and is_reduced else []

    @property
    def slot(self) -> Slot:
        host = self._host
        return Slot(
            dim=host.dim,
            num_heads=host.num_heads,
            qkv_bias=host.q.bias is not None,
            attn_drop=host.attn_drop.p,
            proj_drop=host.proj_drop.p,
        )

    def put(self, name: str, options: Mapping[str, Any]) -> None:
        host = self._host
        mechanism = make_mechanism(name, self.slot, options, host.q)
        if not isinstance(mechanism, GroupMixAttention):
            self._block.attn = ReducedMapAttention(host, mechanism)
            return
        with torch.no_grad():
            mechanism.qkv.weight.copy_(torch.cat([host.q.weight, host.kv.weight]))
            if host.q.bias is not None:
                mechanism.qkv.bias.copy_(torch.cat([host.q.bias, host.kv.bias]))
        if isinstance(mechanism.proj, nn.Linear):
            mechanism.proj = host.proj
        self._block.attn = GridAttention(mechanism)


class ReducedMapAttention(nn.Module):
    """PVT v2's attention with a mechanism that transforms its maps before they weight V; the weights are the host's."""

    def __init__(self, host: Attention, mechanism: TokenAttention) -> None:
        super().__init__()
        self.num_heads, self.scale = host.num_heads, host.scale
        self.q, self.kv, self.proj = host.q, host.kv, host.proj
        self.attn_drop, self.proj_drop = host.attn_drop, host.proj_drop
        self.pool, self.sr, self.norm, self.act = host.pool, host.sr, host.norm, host.act
        mechanism.drop_linears()
        self.mechanism = mechanism
        self.train(host.training)

    def forward(self, x_BND: torch.Tensor, feat_size: tuple[int, int]) -> torch.Tensor:
        B, N, D = x_BND.shape
        with self.mechanism.in_query_precision(x_BND) as wide:
            q_BHNE = self.q(wide(x_BND)).reshape(B, N, self.num_heads, -1).transpose(1, 2)
            kv_BK2D = self.kv(self._reduced(wide(x_BND), feat_size))
        k_BHKE, v_BHKE = kv_BK2D.reshape(B, -1, 2, self.num_heads, D // self.num_heads).permute(2, 0, 3, 1, 4).unbind(0)
        with self.mechanism.in_map_precision(q_BHNE) as wide:
            softmax_BHNK = softmax_map(wide(q_BHNE), wide(k_BHKE), self.scale)
            attn_BMNK = self.mechanism.transform(self.attn_drop(softmax_BHNK))
        out_BND = self.mechanism.weigh(attn_BMNK, v_BHKE).transpose(1, 2).reshape(B, N, D)
        return self.proj_drop(self.proj(out_BND))

    def _reduced(self, x_BND: torch.Tensor, feat_size: tuple[int, int]) -> torch.Tensor:
        """Spatially reduced tokens for keys and values."""
        if self.sr is None:
            return x_BND
        x_BDHW = x_BND.transpose(1, 2).unflatten(2, (feat_size[0], feat_size[1]))
        if self.pool is not None:
            x_BDHW = self.pool(x_BDHW)
        x_BKD = self.sr(x_BDHW).flatten(2).transpose(1, 2)
        if self.norm is not None:
            x_BKD = self.norm(x_BKD)
        return x_BKD if self.act is None else self.act(x_BKD)


# A leaf of timm's tracer: a trace through it would lose the precision of its maps.
register_notrace_module(ReducedMapAttention)
