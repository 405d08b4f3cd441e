"""UperNet head: pooled context on the coarsest map, a feature pyramid, and one convolution over all levels.

Paper:   Unified Perceptual Parsing for Scene Understanding, Xiao et al. 2018, arXiv:1807.10221; pooling of context:
         Pyramid Scene Parsing Network, Zhao et al. 2017, arXiv:1612.01105.
Source:  written from the description; parity with mmsegmentation 1.2.2 (Apache-2.0) is tested in both modes.
Differs: no option for aligned corners (not aligned, the default of the configurations for Swin).

Shapes:  B images, C channels per level, D head_dim, K classes, H x W the finest map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from modelzoo.dense.heads.units import ConvUnit, PixelClassifier, resize

__all__ = ["UperNetHead"]


class UperNetHead(PixelClassifier):
    """Maps of all levels, the finest first -> logits (B, K, H, W) at the size of the finest.

    Args:
        in_channels: Channels of every level.
        head_dim: Channels of the head.
        pool_scales: Sides of the grids to which the coarsest map is averaged.
        dropout: Rate, before the classifier.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        *,
        head_dim: int = 512,
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        dropout: float = 0.1,
    ) -> None:
        super().__init__(head_dim, num_classes, dropout)
        *finer, coarsest = in_channels
        self.pool_scales = tuple(pool_scales)
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(scale), ConvUnit(coarsest, head_dim, 1)) for scale in pool_scales
        )
        self.bottleneck = ConvUnit(coarsest + len(self.pool_scales) * head_dim, head_dim, 3)
        self.lateral_convs = nn.ModuleList(ConvUnit(dim, head_dim, 1) for dim in finer)
        self.fpn_convs = nn.ModuleList(ConvUnit(head_dim, head_dim, 3) for _ in finer)
        self.fpn_bottleneck = ConvUnit(len(in_channels) * head_dim, head_dim, 3)

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        *finer, coarsest = maps
        laterals = [lateral(each) for lateral, each in zip(self.lateral_convs, finer, strict=True)]
        laterals.append(self._with_context(coarsest))
        for level in range(len(laterals) - 1, 0, -1):
            laterals[level - 1] = laterals[level - 1] + resize(laterals[level], laterals[level - 1].shape[-2:])
        merged = [conv(each) for conv, each in zip(self.fpn_convs, laterals[:-1], strict=True)] + laterals[-1:]
        size = merged[0].shape[-2:]
        return self.classify(self.fpn_bottleneck(torch.cat([resize(each, size) for each in merged], dim=1)))

    def _with_context(self, x: torch.Tensor) -> torch.Tensor:
        pooled = [resize(pool(x), x.shape[-2:]) for pool in self.psp_modules]
        return self.bottleneck(torch.cat([x, *pooled], dim=1))
