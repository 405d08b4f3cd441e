"""Positions of an attention map's tokens in the image, for distances.

Separate from the maps because it needs heuristics for each host; the positions of an unknown host are None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modelzoo.attention.contract import TokenAttention

__all__ = ["Positions", "positions_of"]


@dataclass(frozen=True)
class Positions:
    """Positions of a map's rows: `num_prefix` tokens without a position, then `grid` in raster order; columns likewise
    with `key_grid`.

    Attributes:
        num_windows: Windows per image; the maps of one image are adjacent, and the grids are those of a window.
        is_shifted: Whether the windows differ from those of the previous block.
    """

    grid: tuple[int, int]
    key_grid: tuple[int, int]
    num_prefix: int = 0
    num_windows: int = 1
    is_shifted: bool = False

    def distances(self) -> Tensor:
        """Euclidean distances (N, K) of queries and keys without prefix, in sides of a query's cell."""
        scale = [side / key_side for side, key_side in zip(self.grid, self.key_grid, strict=True)]
        queries, keys = _centres(self.grid, (1.0, 1.0)), _centres(self.key_grid, (scale[0], scale[1]))
        return torch.cdist(queries, keys)


def positions_of(
    root: nn.Module, site: nn.Module, *, size: Any, image: tuple[int, int], num_images: int, shape: torch.Size
) -> Positions | None:
    """Positions of the tokens of a map with this shape; None for an unknown host.

    Args:
        site: The module that formed the map.
        size: Height and width of the feature map, if the host passed them to the attention.
    """
    num_maps, _, num_queries, num_keys = shape if len(shape) == 4 else (0, 0, 0, 0)
    if not num_maps or num_maps % num_images:
        return None
    num_windows = num_maps // num_images
    window = getattr(site, "window_size", None)
    if window is not None:
        grid = (int(window[0]), int(window[1])) if not isinstance(window, int) else (window, window)
        if num_queries == num_keys == grid[0] * grid[1]:
            return Positions(grid, grid, 0, num_windows, _is_shifted(root, site))
        # BEiT's window is the whole grid, without the class token.
    if num_windows != 1:
        return None
    found = _grid_and_prefix(root, site, size, image)
    if found is None:
        return None
    grid, num_prefix = found
    if num_queries != num_prefix + grid[0] * grid[1]:
        return None
    key_grid = grid if num_keys == num_queries else _reduced(grid, num_keys) if num_prefix == 0 else None
    return None if key_grid is None else Positions(grid, key_grid, num_prefix)


def _grid_and_prefix(
    root: nn.Module, site: nn.Module, size: Any, image: tuple[int, int]
) -> tuple[tuple[int, int], int] | None:
    if isinstance(size, tuple | list) and len(size) == 2 and all(isinstance(side, int) for side in size):
        return (size[0], size[1]), 0
    embed = getattr(root, "patch_embed", getattr(root, "embeds", None))
    if hasattr(embed, "dynamic_feat_size") and isinstance(getattr(root, "num_prefix_tokens", None), int):
        height, width = embed.dynamic_feat_size(image)  # pyright: ignore[reportOptionalMemberAccess]
        return (int(height), int(width)), int(root.num_prefix_tokens)  # pyright: ignore[reportArgumentType]
    if isinstance(site, TokenAttention) and site.slot.grid_size is not None:
        return site.slot.grid_size, site.slot.num_prefix_tokens
    return None


def _reduced(grid: tuple[int, int], num_keys: int) -> tuple[int, int] | None:
    """Grid of the keys after a strided convolution or pooling to a square; None if there is no match."""
    for ratio in range(2, max(grid) + 1):
        smaller = (grid[0] // ratio, grid[1] // ratio)
        if smaller[0] * smaller[1] == num_keys:
            return smaller
    side = round(num_keys**0.5)
    return (side, side) if side * side == num_keys else None


def _is_shifted(root: nn.Module, site: nn.Module) -> bool:
    block = next((module for module in root.modules() if any(child is site for child in module.children())), None)
    shift = getattr(block, "shift_size", 0)
    return any(shift) if isinstance(shift, tuple | list) else bool(shift)


def _centres(grid: tuple[int, int], scale: tuple[float, float]) -> Tensor:
    rows, columns = ((torch.arange(side, dtype=torch.float64) + 0.5) * s for side, s in zip(grid, scale, strict=True))
    return torch.cartesian_prod(rows, columns)
