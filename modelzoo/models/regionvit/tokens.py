"""Stem, regional tokens and projection of RegionViT: sources of local and regional maps, and downsampling of both.

Paper:   RegionViT: Regional-to-Local Attention for Vision Transformers, Chen et al. 2022, arXiv:2106.02689, section 3.
Source:  written from a description of the released model; parity with it is tested.
Differs: regional tokens can also be learned, one for all regions or one per region. The released constructor has a
         switch for learned tokens without further details; one token for all regions is our interpretation of it.
         A projection of mode 'c' that changes the width is also our interpretation: the released models use 'c' only
         without a change of width, where it is the identity.

Shapes:  B images, C channels, H x W local map, R x S regional map.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from timm.models import register_notrace_function
from torch import nn

__all__ = ["ChannelNorm", "LearnedRegions", "Projection", "RegionalConv", "build_stem"]


class ChannelNorm(nn.Module):
    """Layer norm over the channels of a (B, C, H, W) map.

    timm's `LayerNorm2d` computes the same, but has 1-D parameters, which timm's optimizers exclude from weight decay;
    the released parameters are (1, C, 1, 1) and decayed.
    """

    def __init__(self, dim: int, eps: float = 1e-5, **factory: Any) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(1, dim, 1, 1, **factory))
        self.bias = nn.Parameter(torch.zeros(1, dim, 1, 1, **factory))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        x_BHWC = x_BCHW.permute(0, 2, 3, 1)
        x_BHWC = F.layer_norm(x_BHWC, x_BHWC.shape[-1:], self.weight.flatten(), self.bias.flatten(), self.eps)
        return x_BHWC.permute(0, 3, 1, 2)


class _Stem(nn.Module):
    """Stem of the local map: (B, 3, H, W) -> (B, C, H / patch, W / patch)."""

    def __init__(self, proj: nn.Module) -> None:
        super().__init__()
        self.proj = proj

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.proj(image)


def build_stem(kind: str, in_chans: int, dim: int, patch_size: int, **factory: Any) -> nn.Module:
    """Build the stem: '3conv' (patch 4 only), '1conv' (overlapping patches) or 'linear' (disjoint patches)."""
    if kind == "3conv":
        assert patch_size == 4
        return _Stem(
            nn.Sequential(
                nn.Conv2d(in_chans, dim // 4, 3, stride=2, padding=1, **factory),
                ChannelNorm(dim // 4, **factory),
                nn.GELU(),
                nn.Conv2d(dim // 4, dim // 2, 3, stride=2, padding=1, **factory),
                ChannelNorm(dim // 2, **factory),
                nn.GELU(),
                nn.Conv2d(dim // 2, dim, 3, padding=1, **factory),
            )
        )
    if kind == "1conv":
        padding = patch_size - 1
        return _Stem(nn.Conv2d(in_chans, dim, 2 * patch_size, stride=patch_size, padding=padding, **factory))
    assert kind == "linear"
    return _Stem(nn.Conv2d(in_chans, dim, patch_size, stride=patch_size, **factory))


class RegionalConv(nn.Module):
    """Stem of the regional map: one convolution over disjoint regions with a side of `region_size` pixels.

    Other image sizes are zero-padded on all sides; an odd padding has its extra pixel at the right and bottom.
    """

    def __init__(self, in_chans: int, dim: int, region_size: int, **factory: Any) -> None:
        super().__init__()
        self.region_size = region_size
        self.proj = nn.Conv2d(in_chans, dim, region_size, stride=region_size, **factory)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.proj(_padded(image, self.region_size))


@torch.fx.wrap  # control flow on sizes
@register_notrace_function
def _padded(image: torch.Tensor, region_size: int) -> torch.Tensor:
    missing_y, missing_x = (-size % region_size for size in image.shape[-2:])
    if missing_y or missing_x:
        top, left = missing_y // 2, missing_x // 2
        image = F.pad(image, (left, missing_x - left, top, missing_y - top))
    return image


class LearnedRegions(nn.Module):
    """Learned regional tokens, independent of the image: one for all regions, or one per region of the native size.

    Args:
        native_size: Regions per side of the native image, `None` for one token for all regions. For other image sizes
            the native tokens are interpolated bicubically.
    """

    def __init__(self, dim: int, region_size: int, native_size: tuple[int, int] | None, **factory: Any) -> None:
        super().__init__()
        self.region_size = region_size
        self.token = nn.Parameter(torch.empty(1, dim, *(native_size or (1, 1)), **factory))
        nn.init.trunc_normal_(self.token, std=0.02)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return _expanded(self.token, image, self.region_size)


@torch.fx.wrap  # control flow on sizes
@register_notrace_function
def _expanded(token_1CRS: torch.Tensor, image: torch.Tensor, region_size: int) -> torch.Tensor:
    rows, columns = (math.ceil(size / region_size) for size in image.shape[-2:])
    if token_1CRS.shape[-2:] not in ((1, 1), (rows, columns)):
        token_1CRS = F.interpolate(token_1CRS, (rows, columns), mode="bicubic", align_corners=False)
    return token_1CRS.expand(image.shape[0], -1, rows, columns)


class Projection(nn.Module):
    """Projection of both maps to the next stage: 'sc' halves their size and widens them, 'c' keeps their size.

    Norm, GELU and a depthwise convolution with a channel multiplier for the new width. The released model has one
    module for regional and local maps, stored under two names in its state; here it has one name.

    Args:
        shared: Use the same weights for regional and local maps, as released.
        regional: Whether there are regional maps.
    """

    def __init__(
        self, in_dim: int, dim: int, mode: str, *, shared: bool = True, regional: bool = True, **factory: Any
    ) -> None:
        super().__init__()
        self.proj = _project(in_dim, dim, mode, **factory)
        self.proj_regional = _project(in_dim, dim, mode, **factory) if regional and not shared else None

    def forward(
        self, regional_BCRS: torch.Tensor | None, local_BCHW: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        if regional_BCRS is not None:
            proj_regional = self.proj if self.proj_regional is None else self.proj_regional
            regional_BCRS = proj_regional(regional_BCRS)
        return regional_BCRS, self.proj(local_BCHW)


def _project(in_dim: int, dim: int, mode: str, **factory: Any) -> nn.Module:
    if mode == "sc":
        conv = nn.Conv2d(in_dim, dim, 3, stride=2, padding=1, groups=in_dim, **factory)
    elif in_dim == dim:
        return nn.Identity()
    else:
        conv = nn.Conv2d(in_dim, dim, 1, groups=in_dim, **factory)
    return nn.Sequential(ChannelNorm(in_dim, **factory), nn.GELU(), conv)
