"""Swin (version 1) as a host: window attention with relative position bias, and masks in shifted windows.

Paper:   Swin Transformer, Liu et al. 2021, arXiv:2103.14030, section 3.2.
Source:  written from the paper and timm's interface; equal to timm's attention at the identity (see tests).
Differs: mechanisms that mix maps get the softmax of the sum of logits, relative position bias and mask. Masked entries
         are set to zero again afterwards, because a mixing with bias or norm, or a convolution of maps, makes them
         nonzero. The mechanisms' norms take their statistics over all windows of all images, zeros included.
         Group-Mix uses the window as its grid; its own position encoding replaces the relative position bias.

Shapes:  B images, W windows of an image, T tokens of a window, D dim, H heads, M maps that weight V, E head_dim.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from timm.models import register_notrace_module
from timm.models.swin_transformer import SwinTransformer, SwinTransformerBlock, WindowAttention
from torch import nn

from modelzoo.attention import ATTENTION, Slot
from modelzoo.attention.contract import TokenAttention
from modelzoo.attention.groupmix import GroupMixAttention
from modelzoo.hosts.grid_attention import WindowGridAttention
from modelzoo.hosts.site import AttentionSite, make_mechanism

__all__ = ["WindowMapAttention", "refined_windows", "swin_sites", "why_not_in_windows"]


def swin_sites(model: SwinTransformer) -> list[AttentionSite]:
    """Attention sites of Swin: one per block, stage by stage."""
    return [SwinSite(block) for stage in model.layers for block in stage.get_submodule("blocks").children()]


class SwinSite:
    """Attention site of the window attention of one block."""

    def __init__(self, block: nn.Module) -> None:
        assert isinstance(block, SwinTransformerBlock)
        self._block = block

    @property
    def weight(self) -> torch.Tensor:
        return self._host.qkv.weight

    @property
    def _host(self) -> WindowAttention:
        assert isinstance(self._block.attn, WindowAttention)
        return self._block.attn

    @property
    def _window_size(self) -> tuple[int, int]:
        height, width = self._host.window_size
        return int(height), int(width)

    def why_not(self, name: str) -> str | None:
        if self._host.qkv.out_features != 3 * self._host.dim:
            return "has attention with head_dim"
        return why_not_in_windows(name, any(self._block.shift_size))

    def replaces(self, name: str) -> list[str]:
        has_bias = self._host.relative_position_bias_table is not None
        return ["relative position bias of its windows"] if name == "groupmix" and has_bias else []

    @property
    def slot(self) -> Slot:
        host = self._host
        return Slot(
            dim=host.dim,
            num_heads=host.num_heads,
            grid_size=self._window_size,
            qkv_bias=host.qkv.bias is not None,
            proj_bias=host.proj.bias is not None,
            attn_drop=host.attn_drop.p,
            proj_drop=host.proj_drop.p,
        )

    def put(self, name: str, options: Mapping[str, Any]) -> None:
        host = self._host
        mechanism = make_mechanism(name, self.slot, options, host.qkv)
        if isinstance(mechanism, GroupMixAttention):
            mechanism.qkv = host.qkv
            if isinstance(mechanism.proj, nn.Linear):
                mechanism.proj = host.proj
            attention = WindowGridAttention(mechanism, self._window_size)
        else:
            attention = WindowMapAttention(host, mechanism, self._window_size)
        self._block.register_module("attn", attention)


def why_not_in_windows(name: str, is_shifted: bool) -> str | None:
    """Reason why a mechanism does not fit the windows of a block; None if it fits."""
    if ATTENTION[name].mixes_maps:
        return None
    if name != "groupmix":
        return "attends in windows, with relative positions"
    if is_shifted:
        return "has shifted windows in this block, and aggregators would mix pixels that their mask separates"
    return None


def refined_windows(
    mechanism: TokenAttention, dropout: nn.Module, logits: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Maps (B * W, M, T, T) of all windows from logits (B * W, H, T, T) and mask (W, T, T)."""
    if mask is not None:
        # (B * W, H, T, T): the windows of one image are adjacent.
        logits = (logits.unflatten(0, (-1, mask.shape[0])) + mask[:, None]).flatten(0, 1)
    attn = mechanism.transform(dropout(logits.softmax(dim=-1)))
    if mask is not None:
        together = (mask == 0).to(attn.dtype)
        attn = (attn.unflatten(0, (-1, mask.shape[0])) * together[:, None]).flatten(0, 1)
    return attn


class WindowMapAttention(WindowAttention):
    """timm's window attention with a mechanism that transforms its maps before they weight V; the weights are the
    host's."""

    def __init__(self, host: WindowAttention, mechanism: TokenAttention, window_size: tuple[int, int]) -> None:
        super().__init__(host.dim, host.num_heads, window_size=window_size)
        self.qkv, self.proj = host.qkv, host.proj
        self.attn_drop, self.proj_drop = host.attn_drop, host.proj_drop
        self.relative_position_bias_table = host.relative_position_bias_table
        mechanism.drop_linears()
        self.mechanism = mechanism
        self.train(host.training)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        num_windows, T, _ = x.shape
        with self.mechanism.in_query_precision(x) as wide:
            qkv = self.qkv(wide(x))
        q, k, v = qkv.reshape(num_windows, T, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        index = self.get_buffer("relative_position_index").flatten()
        bias_TTH = self.relative_position_bias_table[index].view(T, T, -1)
        with self.mechanism.in_map_precision(q) as wide:
            logits = (wide(q) * self.scale) @ wide(k).transpose(-2, -1) + bias_TTH.permute(2, 0, 1)
            attn = refined_windows(self.mechanism, self.attn_drop, logits, mask)
        return self.proj_drop(self.proj(self.mechanism.weigh(attn, v).transpose(1, 2).flatten(2)))


# A leaf of timm's tracer: a trace through it would lose the precision of its maps.
register_notrace_module(WindowMapAttention)
