"""Convolution that returns maps of the size it gets, for odd and even kernels alike.

Separate because torch's `padding="same"` warns about even kernels, and because the side that gets the odd pixel is part
of what the official modules compute: bottom and right.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["SameConv2d"]


class SameConv2d(nn.Conv2d):
    """`nn.Conv2d` of stride 1 with a square kernel and zero padding to the same size."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, groups: int = 1, bias: bool = True
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, padding=(kernel_size - 1) // 2, groups=groups, bias=bias
        )

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        # The symmetric padding lacks one pixel after the image when the kernel is even.
        return super().forward(x_BCHW if self.kernel_size[0] % 2 else F.pad(x_BCHW, (0, 1, 0, 1)))
