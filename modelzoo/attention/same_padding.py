"""Convolution and poolings of stride 1 with 'same' padding, for odd and even kernels.

Needed because torch's `padding="same"` warns about even kernels, its poolings support symmetric padding only, and the
position of the odd pixel is part of the official modules' function: bottom and right. Poolings ignore pixels outside of
the image.

Shapes:  B images, C channels, H x W pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["SameAvgPool2d", "SameConv2d", "SameMaxPool2d", "with_odd_pixel"]


class SameConv2d(nn.Conv2d):
    """Convolution of stride 1 with zero padding to the same size.

    Args:
        kernel_size: Side of a square kernel, or (height, width).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        groups: int = 1,
        bias: bool = True,
        **factory: Any,
    ) -> None:
        """`factory`: `device` and `dtype`."""
        height, width = sides = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        padding = (height - 1) // 2, (width - 1) // 2
        super().__init__(in_channels, out_channels, sides, padding=padding, groups=groups, bias=bias, **factory)

    # Named by its shape, as everywhere; PyTorch calls it `input`.
    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(with_odd_pixel(x_BCHW, self.kernel_size))


def with_odd_pixel(x_BCHW: torch.Tensor, kernel_size: tuple[int, ...]) -> torch.Tensor:
    """The image with what symmetric padding leaves short for even kernels: one pixel at the bottom and right."""
    height, width = kernel_size
    return x_BCHW if height % 2 and width % 2 else F.pad(x_BCHW, (0, 1 - width % 2, 0, 1 - height % 2))


class _SamePool2d(nn.Module):
    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}"


class SameMaxPool2d(_SamePool2d):
    """Maximum over a k x k neighbourhood; even sizes extend one pixel further down and right."""

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(_padded(x_BCHW, self.kernel_size, -torch.inf), self.kernel_size, stride=1)


class SameAvgPool2d(_SamePool2d):
    """Mean over a k x k neighbourhood; even sizes extend one pixel further down and right."""

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        inside = torch.ones_like(x_BCHW[:1, :1])
        total, share = (
            F.avg_pool2d(_padded(one, self.kernel_size, 0.0), self.kernel_size, stride=1) for one in (x_BCHW, inside)
        )
        return total / share


def _padded(x_BCHW: torch.Tensor, kernel_size: int, value: float) -> torch.Tensor:
    before = (kernel_size - 1) // 2
    return F.pad(x_BCHW, (before, kernel_size - 1 - before) * 2, value=value)
