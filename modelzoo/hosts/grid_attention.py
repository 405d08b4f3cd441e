"""Adapters of Group-Mix attention for hosts that pass the size of their feature map, or attend in windows.

Separate from `groupmix.py`, which does not depend on hosts. The linear layers are the mechanism's, with the host's
weights.
"""

from __future__ import annotations

import torch
from torch import nn

from modelzoo.attention.groupmix import GroupMixAttention

__all__ = ["GridAttention", "WindowGridAttention", "refuse_window_mask"]


def refuse_window_mask(mask: torch.Tensor | None) -> None:
    """Raise ValueError for the mask of a shifted window."""
    if mask is not None:
        raise ValueError(
            "Group-Mix attention does not support the mask of a shifted window: "
            "its aggregators would mix pixels that the mask separates"
        )


class GridAttention(nn.Module):
    """Adapter for `attn(x, (height, width))`, the call of PVT v2 and CoaT, whose feature maps vary in size."""

    def __init__(self, mechanism: GroupMixAttention) -> None:
        super().__init__()
        self.mechanism = mechanism

    def forward(self, x_BND: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return self.mechanism.attend(x_BND, grid_size=(size[0], size[1]))[0]


class WindowGridAttention(nn.Module):
    """Adapter for `attn(windows, mask=None)`, the call of Swin: every window is processed as a separate image."""

    def __init__(self, mechanism: GroupMixAttention, window_size: tuple[int, int]) -> None:
        super().__init__()
        self.mechanism = mechanism
        self.window_size = window_size

    def set_window_size(self, window_size: tuple[int, int]) -> None:
        """Set the window size (called by timm's Swin); no parameter depends on it."""
        self.window_size = window_size

    def forward(self, x_WTD: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        refuse_window_mask(mask)
        return self.mechanism.attend(x_WTD, grid_size=self.window_size)[0]
