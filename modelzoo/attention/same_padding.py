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

__all__ = ["SameAvgPool2d", "SameConv2d", "SameMaxPool2d"]


class SameConv2d(nn.Conv2d):
    """Convolution of stride 1 with a square kernel and zero padding to the same size."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        groups: int = 1,
        bias: bool = True,
        **factory: Any,
    ) -> None:
        """`factory`: `device` and `dtype`."""
        padding = (kernel_size - 1) // 2
        super().__init__(in_channels, out_channels, kernel_size, padding=padding, groups=groups, bias=bias, **factory)

    # Named by its shape, as everywhere; PyTorch calls it `input`.
    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        # For an even kernel, the symmetric padding is one pixel short at the bottom and right.
        return super().forward(x_BCHW if self.kernel_size[0] % 2 else F.pad(x_BCHW, (0, 1, 0, 1)))


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
