"""Block and stage of RegionViT: a projection of both maps, then blocks of regional-to-local attention.

Paper:   RegionViT, Chen et al. 2022, arXiv:2106.02689, section 3; PEG as in CPVT, arXiv:2102.10882.
Source:  written from a description of the released model; parity with it is tested.
Differs: regional tokens, regional attention and weight sharing are separate options.

A map that does not fill its windows is padded at the start of a stage and cropped at its end. In between, padded tokens
are processed like others (so they become nonzero by biases), unless PEG, which needs the unpadded map, resets them to
zero. Stochastic depth drops the regional step per image, and the other two per window, as released.

Shapes:  B images, R regions, G = B * R windows, N tokens of a window, D dim.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.layers.drop import DropPath
from timm.layers.mlp import Mlp
from timm.models import register_notrace_function
from torch import nn
from torch.utils.checkpoint import checkpoint

from modelzoo.models.regionvit.attention import RegionalToLocalAttention, from_windows, padding_mask, to_windows
from modelzoo.models.regionvit.tokens import Projection
from search_space.parsing.errors import Problem, SpecError

__all__ = ["RegionViTStage", "RegionalToLocalBlock"]

NORM_EPS = 1e-6

# Control flow on sizes: a symbolic trace records a call of the function instead.
torch.fx.wrap("padding_mask")


class RegionalToLocalBlock(nn.Module):
    """Pre-norm block of regional attention, window attention and MLP.

    Args:
        regional_attention: 'shared' (the windows' weights), 'separate' (own weights) or 'none'.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: int,
        *,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        drop_path: float = 0.0,
        regional_attention: str = "shared",
        rel_pos: bool = True,
        **factory: Any,
    ) -> None:
        super().__init__()
        drops = {"attn_drop": attn_drop, "proj_drop": proj_drop}
        options: dict[str, Any] = {"qkv_bias": qkv_bias, "qk_scale": qk_scale, **drops, **factory}
        self.norm0 = None if regional_attention == "none" else nn.LayerNorm(dim, eps=NORM_EPS, **factory)
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS, **factory)
        self.attn = RegionalToLocalAttention(dim, num_heads, window_size if rel_pos else None, **options)
        own = regional_attention == "separate"
        self.regional_attn = RegionalToLocalAttention(dim, num_heads, None, **options) if own else None
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS, **factory)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), drop=proj_drop, **factory)

    def forward(self, x_GND: torch.Tensor, num_images: int, mask_RNN: torch.Tensor | None) -> torch.Tensor:
        if self.norm0 is not None:
            regional_BRD = x_GND[:, 0].unflatten(0, (num_images, -1))
            attend = self.attn if self.regional_attn is None else self.regional_attn
            regional_BRD = regional_BRD + self.drop_path(attend(self.norm0(regional_BRD)))
            x_GND = torch.cat([regional_BRD.flatten(0, 1)[:, None], x_GND[:, 1:]], dim=1)
        x_GND = x_GND + self.drop_path(self.attn(self.norm1(x_GND), in_windows=True, mask_RNN=mask_RNN))
        return x_GND + self.drop_path(self.mlp(self.norm2(x_GND)))


class RegionViTStage(nn.Module):
    """Stage of the pyramid, which maps (regional map or None, local map) to the same.

    Args:
        block_options: Arguments of every `RegionalToLocalBlock`; `drop_path` has one rate per block.
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        num_heads: int,
        window_size: int,
        *,
        drop_path: list[float],
        downsampling: str,
        regional: bool,
        share_projection: bool,
        peg: bool,
        corner: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **block_options,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.window_size = window_size
        self.corner = corner
        self.regional = regional
        self.grad_checkpointing = False
        projection = Projection(in_dim, dim, downsampling, shared=share_projection, regional=regional, **factory)
        blocks = [
            RegionalToLocalBlock(dim, num_heads, window_size, drop_path=rate, **block_options, **factory)
            for rate in drop_path
        ]
        # The projection has index 0, as in released checkpoints.
        self.block = nn.ModuleList([projection, *blocks])
        # Identity for the local map: hooks on the stage would see the regional map first.
        self.feature_map = nn.Identity()
        self.peg = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False, **factory) if peg else None

    def forward(self, regional: torch.Tensor | None, local: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        projection, first, *others = self.block
        regional, local = projection(regional, local)
        num_images, size = local.shape[0], (local.shape[2], local.shape[3])
        rows, columns = _grid_size(regional, local, self.window_size)
        grid_size = (rows, columns)
        mask_RNN = padding_mask(
            size,
            grid_size,
            self.window_size,
            num_regional=int(self.regional),
            corner=self.corner,
            device=local.device,
        )
        x_GND = to_windows(regional, local, grid_size, self.window_size)
        x_GND = self._run(first, x_GND, num_images, mask_RNN)
        if self.peg is not None:
            regional, local = from_windows(x_GND, size, grid_size, self.window_size, regional=self.regional)
            regional = None if regional is None else regional + self.peg(regional)
            x_GND = to_windows(regional, local + self.peg(local), grid_size, self.window_size)
        for block in others:
            x_GND = self._run(block, x_GND, num_images, mask_RNN)
        regional, local = from_windows(x_GND, size, grid_size, self.window_size, regional=self.regional)
        return regional, self.feature_map(local)

    def _run(self, block: nn.Module, *inputs) -> torch.Tensor:
        if self.grad_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False)
        return block(*inputs)


@torch.fx.wrap  # compares sizes, which have no value in a symbolic trace
@register_notrace_function
def _grid_size(regional: torch.Tensor | None, local: torch.Tensor, window_size: int) -> tuple[int, int]:
    """Rows and columns of the windows of a stage."""
    height, width = local.shape[-2:]
    if regional is None:
        return math.ceil(height / window_size), math.ceil(width / window_size)
    rows, columns = regional.shape[-2:]
    if rows * window_size < height or columns * window_size < width:
        raise SpecError(
            Problem(
                f"regions * window_size >= local map must hold in every stage, but a stage has {rows}x{columns} "
                f"regions, window_size={window_size} and a local map of {height}x{width}",
                hint="choose window sizes that do not shrink from stage to stage, or another image size",
            )
        )
    return rows, columns
