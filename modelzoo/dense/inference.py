"""Logits of images of any size, from a network that was built for one canvas.

    slide    windows of the size of the canvas, each moved by two thirds of its side; the logits of overlapping windows
             are averaged. For every backbone.
    whole    the whole image at once, padded to a legal size. For backbones that take other sizes than the canvas.

Both are used for published results (windows of 512 moved by 341), and they give other numbers. Images are padded at the
right and below with 0, the mean colour after normalisation.

Shapes:  B images, C channels, K classes, H x W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from modelzoo.dense.segmenter import Segmenter

__all__ = ["image_logits", "window_starts"]


def image_logits(model: Segmenter, images: Tensor, *, whole: bool) -> Tensor:
    """Logits (B, K, H, W) of images (B, C, H, W) in evaluation mode."""
    height, width = images.shape[-2:]
    canvas, multiple = model.backbone.canvas, model.backbone.multiple_of
    if whole:
        assert multiple is not None, "refused where the network is built"
        logits = model(_padded(images, -(-height // multiple) * multiple, -(-width // multiple) * multiple)).logits
    else:
        logits = _slid(model, _padded(images, max(height, canvas[0]), max(width, canvas[1])), canvas)
    return logits[..., :height, :width]


def window_starts(side: int, window: int) -> list[int]:
    """First pixels of windows over a side, the last one at its end: `window_starts(10, 6) == [0, 4]`."""
    stride = max(1, window * 2 // 3)
    last = side - window
    return [*range(0, last, stride), last]


def _slid(model: Segmenter, images: Tensor, canvas: tuple[int, int]) -> Tensor:
    height, width = images.shape[-2:]
    total: Tensor = torch.zeros((), device=images.device)
    count = torch.zeros(1, 1, height, width, device=images.device)
    for top in window_starts(height, canvas[0]):
        for left in window_starts(width, canvas[1]):
            logits = model(images[..., top : top + canvas[0], left : left + canvas[1]]).logits.float()
            around = (left, width - left - canvas[1], top, height - top - canvas[0])
            total = total + F.pad(logits, around)
            count += F.pad(torch.ones_like(logits[:1, :1]), around)
    return total / count


def _padded(images: Tensor, height: int, width: int) -> Tensor:
    below, right = height - images.shape[-2], width - images.shape[-1]
    return F.pad(images, (0, right, 0, below)) if below or right else images
