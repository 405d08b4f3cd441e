"""Pooling of focal attention: each window of the map becomes one cell, or 2 x 2, 4 x 4, ... cells at finer levels.

Paper:   Focal Transformer, Yang et al. 2021, arXiv:2107.00641, section 3.2.
Source:  written from a description of the released models.
Differs: none intended. Pixels that the cells of a level do not cover (7 is not a multiple of 2) are cropped evenly at
         all four sides, as released. `fc` has one weight per pixel of a cell for all channels, `conv` one per pixel and
         channel.

Shapes:  B images, H x W map, C channels, P pixels of a cell's side.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["POOLS", "cell_size", "start_from_mean"]


def cell_size(window_size: int, level: int) -> int:
    """Side of a cell in pixels: `cell_size(7, 1) == 3`."""
    return window_size // 2**level


def _centred(x_BHWC: torch.Tensor, window_size: int, level: int) -> torch.Tensor:
    """Centre crop of the map that the cells of `level` tile exactly."""
    side = cell_size(window_size, level)
    for axis in (1, 2):
        size = x_BHWC.shape[axis]
        covered = size // window_size * 2**level * side
        x_BHWC = x_BHWC.narrow(axis, (size - covered) // 2, covered)
    return x_BHWC


def _cells(x_BHWC: torch.Tensor, window_size: int, level: int) -> torch.Tensor:
    """Pixels of each cell: (B, rows, columns, P, P, C)."""
    side = cell_size(window_size, level)
    x_BHWC = _centred(x_BHWC, window_size, level)
    return x_BHWC.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3)


class MeanPool(nn.Module):
    """Mean pooling of each cell."""

    def __init__(self, dim: int, window_size: int, level: int, **factory: Any) -> None:
        super().__init__()
        self.window_size, self.level = window_size, level

    def forward(self, x_BHWC: torch.Tensor) -> torch.Tensor:
        return _cells(x_BHWC, self.window_size, self.level).mean(dim=(3, 4))


class MaxPool(nn.Module):
    """Maximum pooling of each cell, per channel."""

    def __init__(self, dim: int, window_size: int, level: int, **factory: Any) -> None:
        super().__init__()
        self.window_size, self.level = window_size, level

    def forward(self, x_BHWC: torch.Tensor) -> torch.Tensor:
        return _cells(x_BHWC, self.window_size, self.level).amax(dim=(3, 4))


class LinearPool(nn.Linear):
    """Learned weighted sum of each cell's pixels, with the same weights for all channels."""

    def __init__(self, dim: int, window_size: int, level: int, **factory: Any) -> None:
        super().__init__(cell_size(window_size, level) ** 2, 1, **factory)
        self.window_size, self.level = window_size, level

    # Named by its shape, as everywhere; PyTorch calls it `input`.
    def forward(self, x_BHWC: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        pixels_last = _cells(x_BHWC, self.window_size, self.level).flatten(3, 4).transpose(3, 4)
        return super().forward(pixels_last).squeeze(-1)


class DepthwisePool(nn.Conv2d):
    """Learned weighted sum of each cell's pixels, with separate weights per channel."""

    def __init__(self, dim: int, window_size: int, level: int, **factory: Any) -> None:
        side = cell_size(window_size, level)
        super().__init__(dim, dim, kernel_size=side, stride=side, groups=dim, **factory)
        self.window_size, self.level = window_size, level

    # Named by its shape, as everywhere; PyTorch calls it `input`.
    def forward(self, x_BHWC: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        x_BCHW = _centred(x_BHWC, self.window_size, self.level).permute(0, 3, 1, 2)
        return super().forward(x_BCHW).permute(0, 2, 3, 1)


# Pooling by its name in a sweep; "none" (no pooled keys) has no module.
POOLS: dict[str, type[nn.Module]] = {"mean": MeanPool, "max": MaxPool, "fc": LinearPool, "conv": DepthwisePool}


def start_from_mean(module: nn.Module) -> None:
    """Initialise learned pooling as the mean of each cell; other modules are unchanged."""
    if isinstance(module, LinearPool | DepthwisePool):
        nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        if module.bias is not None:
            nn.init.zeros_(module.bias)
