"""Key indices of focal attention: the tokens and pooled cells that are the keys of a window, and their masks.

Paper:   Focal Self-attention for Local-Global Interactions in Vision Transformers, Yang et al. 2021, arXiv:2107.00641.
Source:  written from a description of the released models; checked against a loop over single queries (see tests).
Differs: the released code rolls and unfolds maps; here every window has a list of positions in one table of tokens.

A `slot` is one key of a window. A position in two slots counts twice in the softmax, as released, because the four
expanded groups overlap. This file computes indices only, without data, so it also works on the meta device.

Shapes:  W windows (raster order), T tokens of a window, K slots.
"""

from __future__ import annotations

import torch

__all__ = [
    "NOT_A_KEY",
    "expanded_offsets",
    "fine_slots",
    "nearest_slots",
    "pooled_bias_index",
    "pooled_slots",
    "shift_mask",
    "window_bias_index",
    "window_offsets",
]

# Bias for the logit of a masked key: as released, not minus infinity.
NOT_A_KEY = -100.0


def window_offsets(window_size: int) -> list[tuple[int, int]]:
    """Offsets (row, column) of the window's own tokens in raster order."""
    return [(i, j) for i in range(window_size) for j in range(window_size)]


def expanded_offsets(window_size: int, expand_size: int) -> list[tuple[int, int]]:
    """Offsets (row, column), from the window's first token, of its surroundings: L-shaped groups TL, TR, BL, BR.

    A group is the window shifted by `expand_size` along both axes, without the tokens that remain inside on both.
    The names are those of the direction in which the map is rolled, so TL is at the bottom right.
    """
    offsets = []
    for down, right in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        for i, j in window_offsets(window_size):
            leaves_rows = i >= window_size - expand_size if down > 0 else i < expand_size
            leaves_columns = j >= window_size - expand_size if right > 0 else j < expand_size
            if leaves_rows or leaves_columns:
                offsets.append((i + down * expand_size, j + right * expand_size))
    return offsets


def _window_origins(grid: tuple[int, int], step: int) -> torch.Tensor:
    """Row and column (W, 2) of the first token of every window of side `step`."""
    rows, columns = (torch.arange(size // step) * step for size in grid)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)


def fine_slots(grid: tuple[int, int], window_size: int, expand_size: int) -> torch.Tensor:
    """Positions (W, K) in the flattened `grid`: the tokens of the window, then its surroundings.

    The map is a torus: the surroundings of border windows wrap around, without a mask, as released.
    """
    offsets = torch.tensor(window_offsets(window_size) + expanded_offsets(window_size, expand_size))
    at = _window_origins(grid, window_size)[:, None] + offsets
    return at[..., 0] % grid[0] * grid[1] + at[..., 1] % grid[1]


def pooled_slots(grid: tuple[int, int], focal_window: int, level: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions in the flattened pooled map, and a mask of those outside of it.

    Args:
        grid: Height and width of the pooled map: 2 ** level cells per window and axis.
        focal_window: Cells per axis at level 0; odd. Level l has focal_window + 2 ** l - 1.

    Returns:
        Positions (W, K), 0 if outside, and the mask (W, K), True if outside.
    """
    step = 2**level
    side = focal_window + step - 1
    cells = torch.tensor(window_offsets(side)) - focal_window // 2
    at = _window_origins(grid, step)[:, None] + cells
    outside = (at < 0).any(-1) | (at >= torch.tensor(grid)).any(-1)
    position = at[..., 0] * grid[1] + at[..., 1]
    return torch.where(outside, torch.zeros_like(position), position), outside


def window_bias_index(window_size: int) -> torch.Tensor:
    """Index (T, T) into the window's own bias table for query and key: one entry per difference of positions."""
    at = torch.tensor(window_offsets(window_size))
    difference = at[:, None] - at[None, :] + window_size - 1
    return difference[..., 0] * (2 * window_size - 1) + difference[..., 1]


def pooled_bias_index(window_size: int, focal_window: int, level: int) -> torch.Tensor:
    """Index (T, K) into a pooled level's bias table for query and cell."""
    side = focal_window + 2**level - 1
    query, cell = torch.tensor(window_offsets(window_size)), torch.tensor(window_offsets(side))
    difference = query[:, None] - cell[None, :] + side - 1
    return difference[..., 0] * (window_size + side - 1) + difference[..., 1]


def shift_mask(grid: tuple[int, int], window_size: int, shift_size: int) -> torch.Tensor:
    """Mask (W, T, T) of shifted windows: `NOT_A_KEY` between tokens from different image regions."""
    regions = []
    for size in grid:
        position = torch.arange(size)
        regions.append((position >= size - window_size).long() + (position >= size - shift_size).long())
    region = 3 * regions[0][:, None] + regions[1]
    windows = region.unflatten(0, (-1, window_size)).unflatten(2, (-1, window_size))
    region_WT = windows.transpose(1, 2).flatten(2).flatten(0, 1)
    return (region_WT[:, :, None] != region_WT[:, None, :]) * NOT_A_KEY


def nearest_slots(
    grid: tuple[int, int], num_windows: tuple[int, int], window_size: int, num_keys: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Nearest keys of each window's centre, on a map of tokens or of one cell per window.

    Args:
        grid: Height and width of the map: those of the tokens, or `num_windows` for cells.
        num_windows: Windows per axis.
        num_keys: Keys per window; limited to the size of the map.

    Returns:
        Positions (W, K) in the flattened map, nearest first and ties in raster order, and offsets (W, K, 2) in rows and
        columns of tokens from the key to the window's centre.
    """
    keys = _window_origins(grid, 1)
    centres = _window_origins(num_windows, 1)
    if grid == num_windows:
        to_centre = (centres[:, None] - keys) * window_size
    else:
        to_centre = centres[:, None] * window_size + window_size // 2 - keys
    distance = to_centre.square().sum(-1)
    # Contiguous: as a view it would keep the whole order, and could not be written as safetensors.
    position = distance.argsort(dim=-1, stable=True)[:, : min(num_keys, keys.shape[0])].contiguous()
    return position, to_centre.gather(1, position[..., None].expand(-1, -1, 2)).float()
