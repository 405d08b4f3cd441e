"""Stem, patch embedding, position encoding and block of GroupMixFormer.

Paper:   Advancing Vision Transformers with Group-Mix Attention, Ge et al. 2023, arXiv:2311.15157.
Source:  written from a description of the released model (MIT); parity is tested. Names are the released state's.
Differs: feature maps of any size; the released code needs sizes that are divisible by all strides.

Shapes:  B images, C channels, H x W map, N tokens (H * W).
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import DropPath, Mlp
from torch import nn
from torch.utils.checkpoint import checkpoint

from modelzoo.attention.contract import Slot
from modelzoo.attention.groupmix import GroupMixAttention

__all__ = ["GroupMixBlock", "GroupMixStage", "PatchEmbedding", "Stem"]


class Stem(nn.Module):
    """Convolutional stem: two 3 x 3 convolutions of stride 2."""

    def __init__(self, in_chans: int, dim: int, **factory: Any) -> None:
        super().__init__()
        self.proj1 = nn.Conv2d(in_chans, dim // 2, 3, 2, 1, **factory)
        self.norm1 = nn.BatchNorm2d(dim // 2, **factory)
        self.proj2 = nn.Conv2d(dim // 2, dim, 3, 2, 1, **factory)
        self.norm2 = nn.BatchNorm2d(dim, **factory)
        self.act = nn.Hardswish()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm2(self.proj2(self.act(self.norm1(self.proj1(x))))))


class SeparableConvolution(nn.Module):
    """Depthwise separable convolution, 3 x 3 and 1 x 1, without biases."""

    def __init__(self, dim: int, dim_out: int, stride: int, **factory: Any) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, stride, 1, groups=dim, bias=False, **factory)
        self.pointwise_conv = nn.Conv2d(dim, dim_out, 1, bias=False, **factory)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pointwise_conv(self.conv1(x))


class PatchEmbedding(nn.Module):
    """Patch embedding at the start of a stage: separable convolution, batch norm, hardswish."""

    def __init__(self, dim: int, dim_out: int, stride: int, **factory: Any) -> None:
        super().__init__()
        self.proj = SeparableConvolution(dim, dim_out, stride, **factory)
        self.norm = nn.BatchNorm2d(dim_out, **factory)
        self.act = nn.Hardswish()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm(self.proj(x)))


class PositionEncoding(nn.Module):
    """Convolutional position encoding: depthwise 3 x 3 convolution with a residual connection."""

    def __init__(self, dim: int, **factory: Any) -> None:
        super().__init__()
        self.proj = nn.Conv2d(dim, dim, 3, 1, 1, groups=dim, **factory)

    def forward(self, x_BNC: torch.Tensor, grid_size: tuple[int, int]) -> torch.Tensor:
        image_BCHW = x_BNC.transpose(1, 2).unflatten(2, grid_size)
        return (self.proj(image_BCHW) + image_BCHW).flatten(2).transpose(1, 2)


class GroupMixBlock(nn.Module):
    """Pre-norm block of position encoding, Group-Mix attention and MLP.

    Args:
        groupmix: Options of the attention, as in a sweep's `arch.attention`.
    """

    def __init__(
        self,
        slot: Slot,
        *,
        mlp_ratio: float,
        drop_path: float = 0.0,
        layer_norm_eps: float = 1e-6,
        qk_scale: float | None = None,
        **groupmix: Any,
    ) -> None:
        super().__init__()
        self.cpe = PositionEncoding(slot.dim, **slot.factory)
        self.norm1 = nn.LayerNorm(slot.dim, eps=layer_norm_eps, **slot.factory)
        self.att = GroupMixAttention(slot, qk_scale=qk_scale, **groupmix)
        self.drop_path1 = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.norm2 = nn.LayerNorm(slot.dim, eps=layer_norm_eps, **slot.factory)
        self.mlp = Mlp(slot.dim, int(slot.dim * mlp_ratio), drop=slot.proj_drop, **slot.factory)
        self.drop_path2 = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x_BNC: torch.Tensor, grid_size: tuple[int, int]) -> torch.Tensor:
        x_BNC = self.cpe(x_BNC, grid_size)
        x_BNC = x_BNC + self.drop_path1(self.att(self.norm1(x_BNC), grid_size=grid_size))
        return x_BNC + self.drop_path2(self.mlp(self.norm2(x_BNC)))


class GroupMixStage(nn.Module):
    """Blocks of one stage, under their released name: a feature map in, a feature map out."""

    def __init__(self, blocks: list[GroupMixBlock]) -> None:
        super().__init__()
        self.gma_stage = nn.ModuleList(blocks)
        self.grad_checkpointing = False

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        grid_size = (x_BCHW.shape[2], x_BCHW.shape[3])
        x_BNC = x_BCHW.flatten(2).transpose(1, 2)
        for block in self.gma_stage:
            if self.grad_checkpointing and torch.is_grad_enabled():
                x_BNC = checkpoint(block, x_BNC, grid_size, use_reentrant=False)
            else:
                x_BNC = block(x_BNC, grid_size)
        return x_BNC.transpose(1, 2).unflatten(2, grid_size)
