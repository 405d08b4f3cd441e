"""Focal attention, version 2 ("Focal-fast"): a window attends to the tokens and cells nearest to its centre.

Paper:   the README of the Focal Transformer's code; the mechanism is that of Yang et al. 2021, arXiv:2107.00641.
Source:  written from a description of the released models; parity with the released outputs is tested.
Differs: as released, every pooled level is indexed as if it had one cell per window, which is correct for the coarsest
         only. The official code stores indices and coordinates per query; here they are stored once per window.
Cost:    O(N * C * (4 C + 2 K)) multiply-accumulates per image for K keys per window, and O(N * K * C / h) for the bias.

Shapes:  W windows, T tokens per window, K keys of a level, h heads.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models import register_notrace_module
from torch import nn

from modelzoo.models.focal.attention import SlotAttention
from modelzoo.models.focal.windows import nearest_slots

__all__ = ["NearestKeysAttention", "query_offsets"]


def query_offsets(window_size: int, device: torch.device | None = None) -> torch.Tensor:
    """Offsets (T, 2) in rows and columns from the window's centre to its tokens in raster order."""
    axis = torch.arange(window_size, device=device) - window_size // 2
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).flatten(0, 1)


class NearestKeysAttention(SlotAttention):
    """Focal attention (version 2); slots are the `num_keys` nearest tokens, and as many cells of each pooled level.

    Args:
        grid: Height and width of the map, multiples of `window_size`.
        num_pooled: Number of pooled levels.
        num_keys: Keys per level, at most as many as the level has.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int,
        window_size: int,
        grid: tuple[int, int],
        num_pooled: int,
        num_keys: int,
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
        self.num_levels = 1 + num_pooled
        self.num_keys = num_keys
        hidden = dim // num_heads
        self.coord2rpb_all = nn.ModuleList(
            nn.Sequential(nn.Linear(2, hidden, **factory), nn.ReLU(), nn.Linear(hidden, num_heads, **factory))
            for _ in range(self.num_levels)
        )
        for level in range(self.num_levels):
            keys = grid if level == 0 else self.num_windows
            index, to_centre = nearest_slots(keys, self.num_windows, window_size, num_keys)
            # Part of the state because ties of equal distance may be resolved differently elsewhere.
            # Whole numbers of tokens, which bfloat16 represents exactly up to 256.
            self.register_buffer(f"nearest_index_{level}", index.to(device))
            self.register_buffer(f"nearest_to_centre_{level}", to_centre.to(device, dtype))

    def slots(self) -> torch.Tensor:
        start, slots = 0, []
        for level in range(self.num_levels):
            slots.append(getattr(self, f"nearest_index_{level}") + start)
            cells = self.num_windows[0] * self.num_windows[1] * 4 ** (level - 1)
            start += self.grid[0] * self.grid[1] if level == 0 else int(cells)
        return torch.cat(slots, dim=1)

    def logit_bias(self) -> torch.Tensor:
        parts = []
        for level, network in enumerate(self.coord2rpb_all):
            to_centre_WK2 = getattr(self, f"nearest_to_centre_{level}")
            from_centre_T2 = query_offsets(self.window_size, to_centre_WK2.device)
            coordinates_WTK2 = to_centre_WK2[:, None] + from_centre_T2[:, None]
            parts.append(network(coordinates_WTK2).permute(0, 3, 1, 2))
        return torch.cat(parts, dim=-1)


# A leaf of timm's tracer: a trace would fix what follows from the saved indices.
register_notrace_module(NearestKeysAttention)
