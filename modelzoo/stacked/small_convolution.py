"""Depthwise convolution of images of few pixels, as a product of matrices: every pixel of a channel from all of them.

A kernel of k x k is written into a matrix (P, P) over the P pixels of its channel, with zeros where it does not reach.
That is more arithmetic than a convolution where P > k * k, but a faster kind: oneDNN's depthwise convolution and its
gradients take 4.9 to 10 times as long for a grid of 4x4 with k = 5 and 7, 1.5 to 2.8 times for 8x8, and with k = 3
about as long for 4x4 (0.7 to 1.0) and half as long for 8x8 (one thread of an AMD EPYC; benchmarks/stacked_parts.py).
Products also round alike for any number of channels.

Shapes:  B images, C channels, P pixels of h x w, k side of a kernel.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["is_small", "small_depthwise"]

_MOST_PIXELS = 3


def is_small(size: tuple[int, int], kernel_size: int) -> bool:
    """Whether a product of matrices is the faster form."""
    return size[0] * size[1] <= _MOST_PIXELS * kernel_size * kernel_size


def small_depthwise(x_BCHW: Tensor, kernel_C1kk: Tensor, bias_C: Tensor | None) -> Tensor:
    """Depthwise convolution (B, C, h, w) of stride 1 to the same size, with the odd pixel of even kernels at the bottom
    and right, as `SameConv2d`."""
    B, C, *size = x_BCHW.shape
    places_PP = _places(size[0], size[1], kernel_C1kk.shape[-1])
    kernel_CPP = F.pad(kernel_C1kk.flatten(1), (0, 1))[:, places_PP.to(x_BCHW.device)]
    x_CBP = x_BCHW.reshape(B, C, -1).transpose(0, 1)
    y_CBP = torch.bmm(x_CBP, kernel_CPP.transpose(1, 2))
    if bias_C is not None:
        y_CBP = y_CBP + bias_C[:, None, None]
    return y_CBP.transpose(0, 1).reshape(B, C, *size)


@functools.lru_cache(maxsize=256)
def _places(height: int, width: int, side: int) -> Tensor:
    """Entry of the kernel that goes from a pixel (second axis) to another (first); side * side where there is none."""
    offset = (side - 1) // 2
    rows = torch.arange(height).repeat_interleave(width)
    columns = torch.arange(width).repeat(height)
    down = rows[None, :] - rows[:, None] + offset
    right = columns[None, :] - columns[:, None] + offset
    reaches = (down >= 0) & (down < side) & (right >= 0) & (right < side)
    return torch.where(reaches, down * side + right, side * side)
