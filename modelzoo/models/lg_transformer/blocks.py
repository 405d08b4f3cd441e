"""Local-to-global attention: window attention at several resolutions, whose outputs are summed.

Paper:   Local-to-Global Self-Attention in Vision Transformers, Li et al. 2021, arXiv:2107.04735.
Source:  our interpretation; no code was released and only the abstract was available. `model.py` lists what is inferred
         and from which source.
Differs: unknown. With a single path of reduction 1 the block equals Swin's, arXiv:2103.14030, bit for bit.
Cost:    O(N * window^2 * D) per path over N / reduction^2 tokens, plus each path's own qkv and output projections.

A path of reduction r: mean over r x r cells of the normalised tokens, window attention with its own weights and its own
relative position table, bilinear interpolation to the full grid. A path whose grid is a single window is global.

Shapes:  B images, H x W grid of tokens, D dim, G windows of all images, R windows of one image, T tokens of a window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers.drop import DropPath
from timm.layers.mlp import Mlp
from timm.models import register_notrace_function
from timm.models.swin_transformer import WindowAttention, window_partition, window_reverse
from torch import nn

__all__ = ["LocalToGlobalBlock", "shift_mask"]

Size = tuple[int, int]


class LocalToGlobalBlock(nn.Module):
    """Pre-norm block: sum over paths of window attention, then an MLP.

    Args:
        input_resolution: Grid that windows are fitted to; a window is never larger than its path's grid.
        reductions: Reduction of each path; 1 is full resolution.
        shift: Shift of the windows of a shifted path; `(0, 0)` in every other block.
        shift_paths: 'local' shifts only paths of reduction 1, 'all' every path whose grid is larger than its window,
            'none' no path.
        fusion: 'sum', or 'concat' and a linear projection to `dim`.
        upsample: 'bilinear' or 'nearest'.
        always_partition: Keep window and shift even if the grid is smaller, as in timm's Swin.
        dynamic_mask: Compute masks for the grid of every call, for grids other than `input_resolution`.
    """

    def __init__(
        self,
        dim: int,
        input_resolution: Size,
        num_heads: int,
        window_size: Size,
        *,
        reductions: Sequence[int],
        shift: Size = (0, 0),
        shift_paths: str = "local",
        fusion: str = "sum",
        upsample: str = "bilinear",
        head_dim: int | None = None,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        proj_drop: float = 0.0,
        attn_drop: float = 0.0,
        drop_path: float = 0.0,
        always_partition: bool = False,
        dynamic_mask: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.reductions = tuple(reductions)
        self.is_shifted = any(shift)
        self.shift_paths = shift_paths
        self.upsample = upsample
        self.input_resolution = input_resolution
        self.always_partition = always_partition
        self.dynamic_mask = dynamic_mask
        self.windows: list[Size] = []
        self.shifts: list[Size] = []
        self._fit(window_size, shift)
        attentions = [
            WindowAttention(
                dim,
                num_heads,
                head_dim=head_dim,
                window_size=window,
                qkv_bias=qkv_bias,
                attn_drop=attn_drop,
                proj_drop=proj_drop,
                **factory,
            )
            for window in self.windows
        ]
        self.norm1 = nn.LayerNorm(dim, **factory)
        # The first path has Swin's name, so that Swin's weights can be loaded.
        self.attn = attentions[0]
        self.coarse_attn = nn.ModuleList(attentions[1:])
        self.fuse = nn.Linear(len(attentions) * dim, dim, **factory) if fusion == "concat" else None
        self.drop_path1 = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, **factory)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), drop=proj_drop, **factory)
        self.drop_path2 = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.init_non_persistent_buffers()

    def init_non_persistent_buffers(self) -> None:
        """Compute the masks of the shifted paths for the native grid; timm calls this after materialising a meta
        model."""
        weight = self.norm1.weight
        for path, reduction in enumerate(self.reductions):
            grid = _reduced(self.input_resolution, reduction)
            mask = shift_mask(grid, self.windows[path], self.shifts[path], device=weight.device, dtype=weight.dtype)
            self.register_buffer(f"mask{path}", mask, persistent=False)

    def set_input_size(self, feat_size: Size, window_size: Size, always_partition: bool | None = None) -> None:
        """Fit windows, position tables and masks to another grid; called by timm's Swin."""
        self.input_resolution = feat_size
        if always_partition is not None:
            self.always_partition = always_partition
        shift = (window_size[0] // 2, window_size[1] // 2) if self.is_shifted else (0, 0)
        self._fit(window_size, shift)
        for attn, window in zip(self._attentions(), self.windows, strict=True):
            attn.set_window_size(window)
        self.init_non_persistent_buffers()

    def forward(self, x_BHWD: torch.Tensor) -> torch.Tensor:
        normed_BHWD = self.norm1(x_BHWD)
        answers = [
            self._path(path, attn, reduction, normed_BHWD)
            for path, (attn, reduction) in enumerate(zip(self._attentions(), self.reductions, strict=True))
        ]
        fused_BHWD = sum(answers[1:], answers[0]) if self.fuse is None else self.fuse(torch.cat(answers, dim=-1))
        x_BHWD = x_BHWD + self.drop_path1(fused_BHWD)
        return x_BHWD + self.drop_path2(self.mlp(self.norm2(x_BHWD)))

    def _path(self, path: int, attn: WindowAttention, reduction: int, x_BHWD: torch.Tensor) -> torch.Tensor:
        height, width = x_BHWD.shape[1:3]
        if reduction == 1:
            return self._attend(path, attn, x_BHWD)
        # Cells that extend beyond the grid average only the tokens inside.
        small = F.avg_pool2d(x_BHWD.permute(0, 3, 1, 2), reduction, ceil_mode=True, count_include_pad=False)
        answer = self._attend(path, attn, small.permute(0, 2, 3, 1))
        options = {"align_corners": False} if self.upsample == "bilinear" else {}
        large = F.interpolate(answer.permute(0, 3, 1, 2), (height, width), mode=self.upsample, **options)
        return large.permute(0, 2, 3, 1)

    def _attend(self, path: int, attn: WindowAttention, x_BHWD: torch.Tensor) -> torch.Tensor:
        """Window attention with shift and padding at the bottom right, in the order of timm's Swin."""
        (height, width), window, shift = x_BHWD.shape[1:3], self.windows[path], self.shifts[path]
        mask_RTT = getattr(self, f"mask{path}")
        if self.dynamic_mask and any(shift):
            mask_RTT = shift_mask((height, width), window, shift, device=x_BHWD.device, dtype=x_BHWD.dtype)
        if any(shift):
            x_BHWD = torch.roll(x_BHWD, (-shift[0], -shift[1]), dims=(1, 2))
        x_BHWD = F.pad(x_BHWD, (0, 0, 0, -width % window[1], 0, -height % window[0]))
        x_GTD = window_partition(x_BHWD, window).flatten(1, 2)
        x_GTD = attn(x_GTD, mask=mask_RTT)
        padded_height, padded_width = x_BHWD.shape[1:3]
        x_BHWD = window_reverse(x_GTD.unflatten(1, window), window, padded_height, padded_width)[:, :height, :width]
        return torch.roll(x_BHWD, shift, dims=(1, 2)) if any(shift) else x_BHWD

    def _attentions(self) -> list[WindowAttention]:
        return [self.attn, *(cast(WindowAttention, attn) for attn in self.coarse_attn)]

    def _fit(self, window_size: Size, shift: Size) -> None:
        """Set the windows and shifts of all paths."""
        self.windows, self.shifts = [], []
        for reduction in self.reductions:
            grid = _reduced(self.input_resolution, reduction)
            window = window_size if self.always_partition else _smaller(grid, window_size)
            moves = self.shift_paths == "all" or (self.shift_paths == "local" and reduction == 1)
            fits = [moves and (self.always_partition or g > w) for g, w in zip(grid, window, strict=True)]
            self.windows.append(window)
            self.shifts.append((shift[0] * fits[0], shift[1] * fits[1]))


@torch.fx.wrap  # rounds sizes, which have no value in a symbolic trace
@register_notrace_function
def shift_mask(
    grid: Size, window: Size, shift: Size, *, device: torch.device, dtype: torch.dtype
) -> torch.Tensor | None:
    """Mask (R, T, T) of shifted windows: -100 between tokens that were not neighbours before the shift."""
    if not any(shift):
        return None
    labels = []
    for axis in range(2):
        length = math.ceil(grid[axis] / window[axis]) * window[axis]
        position = torch.arange(length, device=device)
        labels.append((position >= length - window[axis]).int() + (position >= length - shift[axis]).int())
    label_1HW1 = (3 * labels[0][:, None] + labels[1][None])[None, :, :, None]
    label_RT = window_partition(label_1HW1, window).flatten(1)
    differs_RTT = label_RT[:, :, None] != label_RT[:, None, :]
    return torch.zeros(differs_RTT.shape, device=device, dtype=dtype).masked_fill(differs_RTT, -100.0)


def _reduced(size: Size, reduction: int) -> Size:
    return math.ceil(size[0] / reduction), math.ceil(size[1] / reduction)


def _smaller(grid: Size, window: Size) -> Size:
    return min(grid[0], window[0]), min(grid[1], window[1])
