"""Pixel loss: cross entropy, averaged over the pixels that have a label.

Ignored pixels count neither in the sum nor in the divisor, so that the loss of a crop does not depend on how much of it
is unlabelled. mmsegmentation divides by all pixels unless `avg_non_ignore` is set: its losses are smaller by the share
of ignored pixels.

Every process of a distributed training averages over its own pixels, and the mean of these means is the loss: images
with few labelled pixels weigh a little more there than in one process.

Shapes:  B images, K classes, H x W pixels.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from modelzoo.dense.segmenter import Segmentation

__all__ = ["pixel_cross_entropy", "segmentation_loss"]


def pixel_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, *, ignore_label: int = 255) -> torch.Tensor:
    """Mean cross entropy over the pixels whose label is not `ignore_label`; 0 (not NaN) where there is none.

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W), int64.
    """
    total = F.cross_entropy(logits, labels, ignore_index=ignore_label, reduction="sum")
    return total / (labels != ignore_label).sum().clamp(min=1)


def segmentation_loss(
    output: Segmentation, labels: torch.Tensor, *, aux_weight: float, ignore_label: int = 255
) -> torch.Tensor:
    """Pixel loss of the logits, and `aux_weight` times that of the auxiliary ones where there are such.

    Args:
        labels: (B, H, W) at the size of the logits, int64. Labels are never resized.
    """
    loss = pixel_cross_entropy(output.logits, labels, ignore_label=ignore_label)
    if output.auxiliary is None:
        return loss
    return loss + aux_weight * pixel_cross_entropy(output.auxiliary, labels, ignore_label=ignore_label)
