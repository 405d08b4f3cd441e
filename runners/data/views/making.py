"""Views made of images and of what was drawn for them: cut out, resized, then all adjusted at once.

Resizing is bicubic with antialiasing, clipped to the range of the pixels as PIL does; each view by itself, as every box
has its own size. Unlike PIL's, pixels are not rounded to 8 bits on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from runners.data.transfer import sent
from runners.data.views.adjustments import (
    blurred,
    brightened,
    contrasted,
    gray,
    hue_turned,
    saturated,
    solarized,
    with_jittered_channels,
    with_shifted_channels,
)
from runners.data.views.crops import NUM_GLOBAL, Crops
from runners.data.views.drawing import BRIGHTNESS, CONTRAST, HUE, SATURATION, MultiCrop, ViewDraws, joined

__all__ = ["adjusted", "cut_out", "make_views"]

_ADJUSTMENTS: dict[int, Callable[[Tensor, Tensor], Tensor]] = {
    BRIGHTNESS: brightened,
    CONTRAST: contrasted,
    SATURATION: saturated,
    HUE: hue_turned,
}


def make_views(
    images: Sequence[Tensor], draws: Sequence[ViewDraws], crop: MultiCrop, *, mean: Tensor, std: Tensor
) -> Crops:
    """The views of B images on their device.

    Args:
        images: (C, H, W) each, of any sizes; uint8 in 0..255 or float32 in 0..1.
        draws: of each image.
        mean, std: of every channel, (C,).
    """
    parts = []
    for views, size in (
        (slice(0, NUM_GLOBAL), crop.global_size),
        (slice(NUM_GLOBAL, NUM_GLOBAL + crop.num_local), crop.local_size),
    ):
        of_part = [each.part(views) for each in draws]
        cut = [
            cut_out(image, box, size)
            for image, drawn in zip(images, of_part, strict=True)
            for box in drawn.boxes.tolist()
        ]
        shape = (len(images), views.stop - views.start, len(mean), *size)
        if cut:
            pixels = adjusted(torch.cat(cut), joined(of_part))
            parts.append(((pixels - mean[:, None, None]) / std[:, None, None]).reshape(shape))
        else:
            parts.append(mean.new_empty(shape))
    return Crops(*parts)


def cut_out(image: Tensor, box: Sequence[int], size: tuple[int, int]) -> Tensor:
    """One box of an image (C, H, W), resized: (1, C, height, width), in 0..1.

    Args:
        box: top, left, height, width.
    """
    top, left, height, width = box
    part = image[:, top : top + height, left : left + width][None]
    unit = part.contiguous().float() / 255 if part.dtype == torch.uint8 else part.contiguous()
    if (height, width) == size:
        return unit
    return functional.interpolate(unit, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def adjusted(x: Tensor, draws: ViewDraws) -> Tensor:
    """Views (N, C, H, W) in 0..1, flipped and with other colours, as was drawn for each of them."""
    x = x.clone()
    _change(x, draws.flipped, lambda part, rows: part.flip(-1))
    channels = sent(torch.from_numpy(draws.channels[:, : x.shape[1]]), x.device)
    _change(x, draws.channels_jittered, lambda part, rows: with_jittered_channels(part, channels[rows]))
    means = sent(torch.from_numpy(draws.means[:, : x.shape[1]]), x.device)
    _change(x, draws.channels_shifted, lambda part, rows: with_shifted_channels(part, means[rows]))
    factors = sent(torch.from_numpy(draws.factors), x.device)
    for position in range(len(_ADJUSTMENTS)):
        for kind, adjust in _ADJUSTMENTS.items():
            chosen = draws.jittered & (draws.order[:, position] == kind)
            _change(x, chosen, lambda part, rows, kind=kind, adjust=adjust: adjust(part, factors[rows, kind]))
    _change(x, draws.grey, lambda part, rows: gray(part).expand_as(part))
    _change(x, draws.sigma > 0, lambda part, rows: blurred(part, draws.sigma[draws.sigma > 0]))
    _change(x, draws.solarized, lambda part, rows: solarized(part))
    return x


def _change(x: Tensor, chosen: np.ndarray, change: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Change the chosen views, in place; `change` also takes their positions."""
    if chosen.any():
        rows = sent(torch.from_numpy(np.flatnonzero(chosen)), x.device)
        x[rows] = change(x[rows], rows)
