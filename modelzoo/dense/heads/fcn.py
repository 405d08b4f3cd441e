"""FCN head, used as auxiliary head: convolutions on one map, then a classifier of its pixels.

Paper:   Fully Convolutional Networks for Semantic Segmentation, Long et al. 2015, arXiv:1411.4038; as auxiliary loss in
         the middle of a network: Pyramid Scene Parsing Network, Zhao et al. 2017, arXiv:1612.01105, section 3.3.
Source:  written from the description; parity with mmsegmentation 1.2.2 (Apache-2.0) is tested in both modes.
Differs: the input is not concatenated to the convolved map, as in the reference's configurations.

Shapes:  B images, C channels, K classes, H x W map.
"""

from __future__ import annotations

import torch
from torch import nn

from modelzoo.dense.heads.units import ConvUnit, PixelClassifier

__all__ = ["FCNHead"]


class FCNHead(PixelClassifier):
    """One map (B, C, H, W) -> logits (B, K, H, W).

    Args:
        in_dim: Channels of the map.
        head_dim: Channels of the convolutions.
        num_convs: Number of 3x3 convolutions before the classifier.
        dropout: Rate, before the classifier.
    """

    def __init__(
        self,
        in_dim: int,
        num_classes: int,
        *,
        head_dim: int = 256,
        num_convs: int = 1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(head_dim, num_classes, dropout)
        self.convs = nn.Sequential(
            *(ConvUnit(head_dim if index else in_dim, head_dim, 3) for index in range(num_convs))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.convs(x))
