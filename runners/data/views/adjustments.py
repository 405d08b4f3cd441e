"""Adjustments of the pixels of many views at once, each view by its own amount.

Every result is made of additions, multiplications, divisions, comparisons and roundings of single elements, in an order
that does not depend on how many views there are: so a view has the same bits alone and in any batch, in any process.
(PyTorch's sums and matrix products may add in another order in a larger batch.)

Definitions are those of torchvision: brightness is x f, contrast m + (x - m) f with m the mean of the grey image,
saturation g + (x - g) f with g the grey image, all clipped to 0..1; hue turns in HSV; grey is 0.2989 R + 0.587 G +
0.114 B. Grey images (C = 1) have neither saturation nor hue.

Shapes: x (N, C, H, W) in 0..1; amounts (N,).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from runners.data.transfer import sent

__all__ = [
    "blurred",
    "brightened",
    "contrasted",
    "gray",
    "hue_turned",
    "saturated",
    "solarized",
    "with_jittered_channels",
    "with_shifted_channels",
]

_WEIGHTS = (0.2989, 0.587, 0.114)
_BLUR_RADIUS = 8
"""Four times the largest sigma."""


def gray(x: Tensor) -> Tensor:
    """Grey image (N, 1, H, W)."""
    if x.shape[1] == 1:
        return x
    red, green, blue = x.unbind(1)
    return (red * _WEIGHTS[0] + green * _WEIGHTS[1] + blue * _WEIGHTS[2])[:, None]


def brightened(x: Tensor, factor: Tensor) -> Tensor:
    return (x * _column(factor)).clamp(0, 1)


def contrasted(x: Tensor, factor: Tensor) -> Tensor:
    return _blended(x, _mean(gray(x)), factor)


def saturated(x: Tensor, factor: Tensor) -> Tensor:
    return x if x.shape[1] == 1 else _blended(x, gray(x), factor)


def hue_turned(x: Tensor, turn: Tensor) -> Tensor:
    """Args:
    turn: as part of the circle, -0.5..0.5.
    """
    if x.shape[1] == 1:
        return x
    red, green, blue = x.unbind(1)
    value, span = x.amax(1), x.amax(1) - x.amin(1)
    divisor = torch.where(span > 0, span, 1.0)
    sixth = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sixth = sixth + 6 * turn[:, None, None]
    # Each channel falls from the value by the part of the span that its distance from the hue on the circle decides.
    channels = []
    for offset in (5, 3, 1):
        place = (sixth + offset).remainder(6)
        channels.append(value - span * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.stack(channels, dim=1)


def blurred(x: Tensor, sigma: np.ndarray) -> Tensor:
    """Convolved with a Gaussian, rows and columns, the border repeated outside.

    Args:
        sigma: (N,), in pixels, above 0 and at most 2.
    """
    taps = [[math.exp(-0.5 * (at / one) ** 2) for at in range(_BLUR_RADIUS + 1)] for one in sigma.tolist()]
    weights = [[tap / (2 * sum(one) - one[0]) for tap in one] for one in taps]
    weights_RN = sent(torch.tensor(weights, dtype=x.dtype).T, x.device)
    for axis in (-2, -1):
        x = _convolved(x, weights_RN, axis)
    return x


def solarized(x: Tensor) -> Tensor:
    """Pixels of 0.5 and more inverted."""
    return torch.where(x >= 0.5, 1 - x, x)


def with_jittered_channels(x: Tensor, factor: Tensor) -> Tensor:
    """Every channel times a factor of its own around its mean; where that is negative, then inverted.

    Args:
        factor: (N, C).
    """
    size, mean = factor.abs()[:, :, None, None], _mean(x)
    scaled = (mean + (x - mean) * size).clamp(0, 1)
    return torch.where(factor[:, :, None, None] < 0, 1 - scaled, scaled)


def with_shifted_channels(x: Tensor, mean: Tensor) -> Tensor:
    """Every channel shifted to a mean of its own, then clipped.

    Args:
        mean: (N, C).
    """
    return (x + (mean[:, :, None, None] - _mean(x))).clamp(0, 1)


def _blended(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    share = _column(factor)
    return (x * share + other * (1 - share)).clamp(0, 1)


def _column(factor: Tensor) -> Tensor:
    return factor[:, None, None, None]


def _mean(x: Tensor) -> Tensor:
    """Mean over the pixels, (N, C, 1, 1): halves are added to each other until one number is left."""
    total = x.flatten(2)
    count = total.shape[2]
    while total.shape[2] > 1:
        half, odd = divmod(total.shape[2], 2)
        folded = total[..., :half] + total[..., half : 2 * half]
        total = torch.cat([folded, total[..., 2 * half :]], dim=2) if odd else folded
    return (total / count)[..., None]


def _convolved(x: Tensor, weights_RN: Tensor, axis: int) -> Tensor:
    side = x.shape[axis]
    place = torch.arange(-_BLUR_RADIUS, side + _BLUR_RADIUS, device=x.device).clamp(0, side - 1)
    padded = x.index_select(axis, place)
    result = x * _column(weights_RN[0])
    for at in range(1, _BLUR_RADIUS + 1):
        before, after = (padded.narrow(axis, _BLUR_RADIUS + sign * at, side) for sign in (-1, 1))
        result += (before + after).mul_(_column(weights_RN[at]))
    return result
