"""MixToken: a box of the patch grid is exchanged with the flipped batch, and exchanged back at the output.

Paper:   All Tokens Matter (LV-ViT), Jiang et al. 2021, arXiv:2104.10858: MixToken; the box is CutMix's,
         Yun et al. 2019, arXiv:1905.04899. Used in the training of Refined-ViT.
Source:  written from the papers; the order of the random draws is that of the recorded training case.
Differs: the box can be passed as an argument.

Shapes:  B images, h x w patch grid, C channels.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import torch

__all__ = ["Box", "draw_box", "exchange"]


class Box(NamedTuple):
    """Box of the patch grid: rows [top, bottom) and columns [left, right); empty by default."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0


def draw_box(grid_size: tuple[int, int]) -> Box:
    """Draw a random box whose area is 1 - Beta(1, 1) of the grid before it is clipped at the border.

    Uses numpy's global generator, as the released model does, so `numpy.random.seed` makes it reproducible.
    """
    return Box(*_drawn(grid_size))


def _draw(grid_size: tuple[int, int]) -> tuple[int, int, int, int]:
    height, width = grid_size
    side = np.sqrt(1.0 - np.random.beta(1.0, 1.0))
    half_height, half_width = int(height * side) // 2, int(width * side) // 2
    row, column = int(np.random.randint(height)), int(np.random.randint(width))
    top, bottom = max(row - half_height, 0), min(row + half_height, height)
    left, right = max(column - half_width, 0), min(column + half_width, width)
    return top, left, bottom, right


# torch.compile would silently replace numpy's generator by torch's. (The cast: torch's types are for decorators.)
_drawn = cast(Any, torch.compiler.disable)(_draw)


def exchange(x_BhwC: torch.Tensor, box: Box) -> torch.Tensor:
    """Exchange the box of each image with that of its partner in the flipped batch; its own inverse."""
    mixed_BhwC = x_BhwC.clone()
    rows, columns = slice(box.top, box.bottom), slice(box.left, box.right)
    mixed_BhwC[:, rows, columns] = x_BhwC.flip(0)[:, rows, columns]
    return mixed_BhwC
