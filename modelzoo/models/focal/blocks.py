"""Embedding, block and stage of the Focal Transformer.

Paper:   Focal Transformer, Yang et al. 2021, arXiv:2107.00641, section 3.1.
Source:  written from a description of the released models.
Differs: feature maps are (B, H, W, C) from the embedding to the head. The overlapping embedding is released for stride
         4 only; here any stride s has kernel 2 s - 1 and padding s // 2. The norm before the downsampling
         (`norm_first`) is our interpretation of an option that no released model uses: a group norm with one group over
         all channels and pixels.

Shapes:  B images, H x W map, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.layers.drop import DropPath
from timm.layers.mlp import Mlp
from timm.models import checkpoint_seq
from torch import nn
from torch.nn import functional

from modelzoo.models.focal.attention import FocalAttention
from modelzoo.models.focal.attention_v2 import NearestKeysAttention
from modelzoo.models.focal.checks import StageOptions
from modelzoo.models.focal.pooling import POOLS

__all__ = ["FocalBlock", "FocalStage", "MapEmbed"]


class MapEmbed(nn.Module):
    """Patch embedding of a feature map: a strided convolution and a norm, for the stem and between stages.

    Args:
        stride: Stride of the convolution.
        overlap: Kernel size 2 * stride - 1 instead of stride.
        norm: Whether there is a norm.
        norm_first: Normalise the input instead of the output.
    """

    def __init__(
        self,
        in_chans: int,
        dim: int,
        *,
        stride: int,
        overlap: bool,
        norm: bool = True,
        norm_first: bool = False,
        **factory: Any,
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        kernel, padding = (2 * stride - 1, stride // 2) if overlap else (stride, 0)
        self.proj = nn.Conv2d(in_chans, dim, kernel_size=kernel, stride=stride, padding=padding, **factory)
        if not norm:
            self.norm = nn.Identity()
        else:
            self.norm = nn.GroupNorm(1, in_chans, **factory) if norm_first else nn.LayerNorm(dim, **factory)

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the output for those of the input."""
        kernel, stride, padding = self.proj.kernel_size[0], self.proj.stride[0], int(self.proj.padding[0])
        return (size[0] + 2 * padding - kernel) // stride + 1, (size[1] + 2 * padding - kernel) // stride + 1

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Embed a map: (B, in_chans, H, W) -> (B, H / stride, W / stride, dim)."""
        if self.norm_first:
            return self.proj(self.norm(x_BCHW)).permute(0, 2, 3, 1)
        return self.norm(self.proj(x_BCHW).permute(0, 2, 3, 1))


class FocalBlock(nn.Module):
    """Pre-norm block of focal attention and MLP.

    A map no larger than a window is a single window, without surroundings and shift.
    """

    def __init__(self, options: StageOptions, *, index: int, drop_path: float, **factory: Any) -> None:
        """Build a block; `index` is its position in the stage, `factory` `device` and `dtype`."""
        super().__init__()
        dim, grid, window_size = options.dim, options.grid, options.window_size
        loses_expansion = index % 2 == {"even": 0, "odd": 1, "all": None}[options.expand_layer]
        expand_size = 0 if loses_expansion else options.expand_size
        shift_size = window_size // 2 if options.shift and index % 2 == 1 else 0
        if min(grid) <= window_size:
            window_size, expand_size, shift_size = min(grid), 0, 0
        self.shift_size = shift_size
        self.padding = (-grid[0] % window_size, -grid[1] % window_size)
        num_pooled = 0 if options.focal_pool == "none" else options.focal_level - 1
        shared: dict[str, Any] = {
            "num_heads": options.num_heads,
            "window_size": window_size,
            "grid": (grid[0] + self.padding[0], grid[1] + self.padding[1]),
            "num_pooled": num_pooled,
            "qkv_bias": options.qkv_bias,
            "qk_scale": options.qk_scale,
            "attn_drop": options.attn_drop,
            "proj_drop": options.proj_drop,
            **factory,
        }
        self.norm1 = nn.LayerNorm(dim, **factory)
        self.pool_layers = nn.ModuleList(
            POOLS[options.focal_pool](dim, window_size, level, **factory) for level in range(num_pooled)
        )
        if options.num_nearest_keys is None:
            self.attn = FocalAttention(
                dim, expand_size=expand_size, focal_window=options.focal_window, shift_size=shift_size, **shared
            )
        else:
            self.attn = NearestKeysAttention(dim, num_keys=options.num_nearest_keys, **shared)
        self.drop_path1 = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim, **factory)
        self.mlp = Mlp(dim, int(dim * options.mlp_ratio), drop=options.proj_drop, **factory)
        self.drop_path2 = DropPath(drop_path)
        if options.layerscale_value is None:
            self.gamma_1 = self.gamma_2 = None
        else:
            self.gamma_1 = nn.Parameter(torch.full((dim,), options.layerscale_value, **factory))
            self.gamma_2 = nn.Parameter(torch.full((dim,), options.layerscale_value, **factory))

    def forward(self, x_BHWC: torch.Tensor) -> torch.Tensor:
        """Feature map after the block: (B, H, W, C) -> (B, H, W, C)."""
        x = x_BHWC + self.drop_path1(_scaled(self._attend(self.norm1(x_BHWC)), self.gamma_1))
        return x + self.drop_path2(_scaled(self.mlp(self.norm2(x)), self.gamma_2))

    def _attend(self, x_BHWC: torch.Tensor) -> torch.Tensor:
        _, H, W, _ = x_BHWC.shape
        bottom, right = self.padding
        # Padding after the norm: padded tokens are zero, so their key and value are the qkv bias; they are not masked,
        # as released.
        x = functional.pad(x_BHWC, (0, 0, 0, right, 0, bottom)) if bottom or right else x_BHWC
        shift = self.shift_size
        if shift:
            x = x.roll((-shift, -shift), dims=(1, 2))
        x = self.attn(x, [pool(x) for pool in self.pool_layers])
        if shift:
            x = x.roll((shift, shift), dims=(1, 2))
        return x[:, :H, :W]


def _scaled(x: torch.Tensor, gamma: torch.Tensor | None) -> torch.Tensor:
    return x if gamma is None else gamma * x


class FocalStage(nn.Module):
    """Stage of blocks at one resolution; the model applies `downsample` after them."""

    def __init__(
        self, options: StageOptions, *, drop_path: Sequence[float], downsample: nn.Module, **factory: Any
    ) -> None:
        super().__init__()
        self.grad_checkpointing = False
        self.blocks = nn.Sequential(
            *(FocalBlock(options, index=index, drop_path=rate, **factory) for index, rate in enumerate(drop_path))
        )
        # Identity for the map of this resolution: the last node of a traced stage is of the downsampling.
        self.feature_map = nn.Identity()
        self.downsample = downsample

    def forward(self, x_BHWC: torch.Tensor) -> torch.Tensor:
        """Feature map before the downsampling: (B, H, W, C) -> (B, H, W, C)."""
        return self.feature_map(checkpoint_seq(self.blocks, x_BHWC) if self.grad_checkpointing else self.blocks(x_BHWC))

    def coarser(self, x_BHWC: torch.Tensor) -> torch.Tensor:
        """Downsampled map for the next stage, (B, H / 2, W / 2, 2 C)."""
        return self.downsample(x_BHWC.permute(0, 3, 1, 2))
