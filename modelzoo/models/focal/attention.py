"""Focal attention: the tokens of a window attend to the window, its surroundings, and distant pooled cells.

Paper:   Focal Self-attention for Local-Global Interactions in Vision Transformers, Yang et al. 2021, arXiv:2107.00641.
Source:  written from a description of the released models; parity with the released outputs is tested.
Differs: as released, not as pictured. The surroundings are four overlapping groups (132 slots for window 7 and
         expansion 3, where the figure has 120 tokens), they wrap around the map's border, and their position bias
         depends on the slot, not on the distance. Cells outside the map have zero keys and values and a logit of -100.
Cost:    O(N * C * (4 C + 2 K)) multiply-accumulates per image for K slots per window.

Shapes:  B images, M tokens of the map and of all pooled maps, C channels, W windows, T tokens per window, K slots per
         window, h heads, d channels per head (C = h * d), N = H * W tokens of the map.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.config import use_fused_attn
from timm.layers.weight_init import trunc_normal_
from torch import nn
from torch.nn import functional

from modelzoo.models.focal.windows import (
    NOT_A_KEY,
    expanded_offsets,
    fine_slots,
    pooled_bias_index,
    pooled_slots,
    shift_mask,
    window_bias_index,
)

__all__ = ["FocalAttention", "SlotAttention"]


class SlotAttention(nn.Module):
    """Attention of windows to slots of a token table: all tokens of the map, those of the pooled maps, and a zero.

    Subclasses define the slots of each window (`slots`) and the bias of the logits (`logit_bias`).
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int,
        window_size: int,
        grid: tuple[int, int],
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.num_heads = num_heads
        self.window_size = window_size
        self.grid = grid
        self.num_windows = (grid[0] // window_size, grid[1] // window_size)
        self.scale = qk_scale or (dim // num_heads) ** -0.5
        self.fused_attn = use_fused_attn()
        self.qkv = nn.Linear(dim, dim * 3, bias=qkv_bias, **factory)
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(dim, dim, **factory)
        self.proj_drop = nn.Dropout(proj_drop)

    def slots(self) -> torch.Tensor:
        """Positions (W, K) in the token table."""
        raise NotImplementedError

    def logit_bias(self) -> torch.Tensor:
        """Bias of the logits (W or 1, h, T, K)."""
        raise NotImplementedError

    def forward(self, x_BHWC: torch.Tensor, pooled: list[torch.Tensor]) -> torch.Tensor:
        """Feature map after attention.

        Args:
            x_BHWC: Feature map of the size given at construction.
            pooled: Pooled maps (B, rows, columns, C), coarsest level first.
        """
        _, H, W, C = x_BHWC.shape
        table_BMC = torch.cat([x_BHWC.flatten(1, 2), *(cells.flatten(1, 2) for cells in pooled)], dim=1)
        qkv_BM3C = self.qkv(table_BMC)
        # (B, W, T, C) -> (B, W * h, T, d): windows join the heads, so that one bias serves all images.
        q = self._windows(qkv_BM3C[:, : H * W, :C].unflatten(1, (H, W)))
        q = q.unflatten(-1, (self.num_heads, -1)).transpose(2, 3).flatten(1, 2)
        slots_WK = self.slots()
        kv = functional.pad(qkv_BM3C[..., C:], (0, 0, 0, 1)).index_select(1, slots_WK.flatten())
        kv = kv.unflatten(1, slots_WK.shape).unflatten(-1, (2, self.num_heads, -1))
        k, v = kv.permute(3, 0, 1, 4, 2, 5).flatten(2, 3).unbind(0)
        bias = self.logit_bias().expand(slots_WK.shape[0], -1, -1, -1).flatten(0, 1)
        if self.fused_attn:
            out = functional.scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=bias.to(q.dtype),
                dropout_p=self.attn_drop.p if self.training else 0.0,
                scale=self.scale,
            )
        else:
            attn = ((q * self.scale) @ k.transpose(-2, -1) + bias).softmax(dim=-1)
            out = self.attn_drop(attn) @ v
        out = out.unflatten(1, (-1, self.num_heads)).transpose(2, 3).flatten(3)
        return self.proj_drop(self.proj(self._map(out)))

    def _windows(self, x_BHWC: torch.Tensor) -> torch.Tensor:
        """Window partition: (B, H, W, C) -> (B, windows, tokens of a window, C)."""
        side = self.window_size
        windows = x_BHWC.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3)
        return windows.flatten(3, 4).flatten(1, 2)

    def _map(self, windows_BWTC: torch.Tensor) -> torch.Tensor:
        """Inverse of `_windows`."""
        side = self.window_size
        x = windows_BWTC.unflatten(2, (side, side)).unflatten(1, self.num_windows)
        return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


class FocalAttention(SlotAttention):
    """Focal attention (version 1); slots are the window, its surroundings, and a square of cells per pooled level.

    Args:
        grid: Height and width of the map, multiples of `window_size`.
        expand_size: Width of the surroundings in tokens; 0: none.
        focal_window: Cells per axis of the coarsest pooled level; odd.
        num_pooled: Number of pooled levels; the l-th has 2 ** l cells per window and axis.
        shift_size: Cyclic shift of the incoming map; only the window's own tokens are masked for it.
    """

    relative_position_index: torch.Tensor
    slot_index: torch.Tensor
    slot_mask: torch.Tensor | None

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int,
        window_size: int,
        grid: tuple[int, int],
        expand_size: int,
        focal_window: int,
        num_pooled: int,
        shift_size: int = 0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            dim,
            num_heads=num_heads,
            window_size=window_size,
            grid=grid,
            qkv_bias=qkv_bias,
            qk_scale=qk_scale,
            attn_drop=attn_drop,
            proj_drop=proj_drop,
            device=device,
            dtype=dtype,
        )
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.expand_size = expand_size
        self.focal_window = focal_window
        self.num_pooled = num_pooled
        self.shift_size = shift_size
        num_tokens = window_size**2
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window_size - 1) ** 2, num_heads, **factory))
        if expand_size:
            num_around = len(expanded_offsets(window_size, expand_size))
            self.relative_position_bias_table_to_neighbors = nn.Parameter(
                torch.empty(1, num_heads, num_tokens, num_around, **factory)
            )
        if num_pooled:
            sides = (window_size + focal_window + 2**level - 2 for level in range(num_pooled))
            self.relative_position_bias_table_to_windows = nn.ParameterList(
                [nn.Parameter(torch.empty(num_heads, side**2, **factory)) for side in sides]
            )
        self.reset_tables()
        self.init_non_persistent_buffers()

    def reset_tables(self) -> None:
        """Initialise the position biases: zero inside the window, small random numbers elsewhere, as released."""
        nn.init.zeros_(self.relative_position_bias_table)
        if self.expand_size:
            trunc_normal_(self.relative_position_bias_table_to_neighbors, std=0.02)
        if self.num_pooled:
            for table in self.relative_position_bias_table_to_windows:
                trunc_normal_(table, std=0.02)

    def init_non_persistent_buffers(self) -> None:
        """Compute slots, bias indices and masks from the sizes; timm calls this after materialising a meta model."""
        slots = [fine_slots(self.grid, self.window_size, self.expand_size)]
        outside = [torch.zeros_like(slots[0], dtype=torch.bool)]
        num_cells = [self.num_windows[0] * self.num_windows[1] * 4**level for level in range(self.num_pooled)]
        zero_row = self.grid[0] * self.grid[1] + sum(num_cells)
        for level in range(self.num_pooled):
            cells = (self.num_windows[0] * 2**level, self.num_windows[1] * 2**level)
            position, is_outside = pooled_slots(cells, self.focal_window, level)
            position = position + self.grid[0] * self.grid[1] + sum(num_cells[:level])
            slots.append(torch.where(is_outside, zero_row, position))
            outside.append(is_outside)
            index = pooled_bias_index(self.window_size, self.focal_window, level)
            self._buffer(f"relative_position_index_{level}", index)
        self._buffer("relative_position_index", window_bias_index(self.window_size))
        self._buffer("slot_index", torch.cat(slots, dim=1))
        mask = (torch.cat(outside, dim=1) * NOT_A_KEY)[:, None, None]
        if self.shift_size:
            regions = shift_mask(self.grid, self.window_size, self.shift_size)[:, None]
            mask = mask + functional.pad(regions, (0, mask.shape[-1] - regions.shape[-1]))
        self._buffer("slot_mask", mask if self.shift_size or self.num_pooled else None)

    def _buffer(self, name: str, value: torch.Tensor | None) -> None:
        if value is not None:
            weight = self.qkv.weight
            value = value.to(weight.device, weight.dtype if value.is_floating_point() else None)
        self.register_buffer(name, value, persistent=False)

    def slots(self) -> torch.Tensor:
        return self.slot_index

    def logit_bias(self) -> torch.Tensor:
        parts = [self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)]
        if self.expand_size:
            parts.append(self.relative_position_bias_table_to_neighbors[0])
        for level in range(self.num_pooled):
            index = getattr(self, f"relative_position_index_{level}")
            parts.append(self.relative_position_bias_table_to_windows[level][:, index])
        bias = torch.cat(parts, dim=-1)[None]
        return bias if self.slot_mask is None else bias + self.slot_mask
