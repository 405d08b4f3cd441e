"""Semantic FPN head: every level of a pyramid is brought to the size of the finest in steps of two, and all are added.

Paper:   Panoptic Feature Pyramid Networks, Kirillov et al. 2019, arXiv:1901.02446, section 3.
Source:  written from the description; parity with mmsegmentation 1.2.2 (Apache-2.0) is tested in both modes.
Differs: from the paper, as the reference does: BatchNorm instead of group norm, and dropout before the classifier.

Shapes:  B images, D head_dim, K classes, H x W the finest map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from modelzoo.dense.heads.units import ConvUnit, PixelClassifier, resize

__all__ = ["SemanticFPNHead"]


class SemanticFPNHead(PixelClassifier):
    """Maps of a pyramid, the finest first -> logits (B, K, H, W) at the size of the finest.

    A level n halvings coarser than the finest passes through n times (3x3 convolution, upsampling by 2).

    Args:
        in_channels: Channels of every level.
        reductions: Of every level; consecutive powers of two.
        head_dim: Channels of the head.
        dropout: Rate, before the classifier.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        reductions: Sequence[int],
        num_classes: int,
        *,
        head_dim: int = 128,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(head_dim, num_classes, dropout)
        self.scale_heads = nn.ModuleList(
            _upsampling(dim, head_dim, (reduction // reductions[0]).bit_length() - 1)
            for dim, reduction in zip(in_channels, reductions, strict=True)
        )

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        scaled = [head(each) for head, each in zip(self.scale_heads, maps, strict=True)]
        total = scaled[0]
        for each in scaled[1:]:
            # Sides that do not halve exactly differ by a few pixels here.
            total = total + resize(each, total.shape[-2:])
        return self.classify(total)


def _upsampling(in_dim: int, dim: int, doublings: int) -> nn.Sequential:
    if doublings == 0:
        return nn.Sequential(ConvUnit(in_dim, dim, 3))
    layers: list[nn.Module] = []
    for step in range(doublings):
        layers.append(ConvUnit(dim if step else in_dim, dim, 3))
        layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
    return nn.Sequential(*layers)
