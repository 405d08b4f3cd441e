"""Group-Mix attention under the call of hosts that tell it the size of their map, or the window.

Separate from `groupmix.py`, which knows no host. The linears are the mechanism's, filled with the host's weights.
"""

from __future__ import annotations

import torch
from torch import nn

from modelzoo.attention.groupmix import GroupMixAttention

__all__ = ["GridAttention", "WindowGridAttention"]


class GridAttention(nn.Module):
    """`attn(x, (height, width))`, as PVT v2 and CoaT call it. Every map may have another size."""

    def __init__(self, mechanism: GroupMixAttention) -> None:
        super().__init__()
        self.mechanism = mechanism

    def forward(self, x_BND: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return self.mechanism.attend(x_BND, grid_size=(size[0], size[1]))[0]


class WindowGridAttention(nn.Module):
    """`attn(windows, mask=None)`, as Swin calls it: every window is a grid of its own, an image for itself."""

    def __init__(self, mechanism: GroupMixAttention, window_size: tuple[int, int]) -> None:
        super().__init__()
        self.mechanism = mechanism
        self.window_size = window_size

    def set_window_size(self, window_size: tuple[int, int]) -> None:
        """As timm's window attention has it; nothing here depends on the size."""
        self.window_size = window_size

    def forward(self, x_WTD: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        if mask is not None:
            raise ValueError(
                "Group-Mix attention cannot honour the mask of a shifted window: "
                "its aggregators would see across what the mask separates"
            )
        return self.mechanism.attend(x_WTD, grid_size=self.window_size)[0]
