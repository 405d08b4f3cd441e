"""Simple feature pyramid: levels of reduction 4, 8, 16 and 32 from the last map of an isotropic model.

Paper:   Exploring Plain Vision Transformer Backbones for Object Detection, Li et al. 2022, arXiv:2203.16527, section 3.
Source:  written from the paper. Each level is the last map, upsampled by transposed 2x2 convolutions that halve the
         channels (a layer norm and a GELU between two of them) or max-pooled, then a 1x1 and a 3x3 convolution, each
         with a layer norm.
Differs: any patch size that is a power of two from 4 to 32; the paper has 16. Pooling rounds up, as the stages of
         pyramids do, so that a map of one pixel stays one.

Shapes:  B images, C channels, D dim, H x W map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers.norm import LayerNorm2d
from torch import nn

from search_space.parsing.errors import Problem, SpecError

__all__ = ["SimplePyramid"]

LEVELS = (4, 8, 16, 32)


class SimplePyramid(nn.Module):
    """Maps of an isotropic backbone, of which the last (B, C, H, W) is used -> maps (B, D, h, w), the finest first.

    Args:
        finest: Reduction of the first map; the last one is 32.

    Raises:
        SpecError: a patch size from which the levels cannot be made by doubling and halving.
    """

    def __init__(self, in_dim: int, reduction: int, dim: int, *, finest: int = LEVELS[0]) -> None:
        super().__init__()
        if reduction not in LEVELS:
            raise SpecError(
                Problem(
                    f"a simple pyramid of levels {list(LEVELS)} cannot be made of maps of reduction {reduction}",
                    path="arch.patch_size",
                    hint=f"patch sizes with a simple pyramid: {', '.join(map(str, LEVELS))}",
                )
            )
        self.reductions = tuple(level for level in LEVELS if level >= finest)
        self.channels = (dim,) * len(self.reductions)
        self.levels = nn.ModuleList(_level(in_dim, reduction, level, dim) for level in self.reductions)

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return [level(maps[-1]) for level in self.levels]


def _level(in_dim: int, reduction: int, level: int, dim: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    while reduction > level:
        if layers:
            layers += [LayerNorm2d(in_dim), nn.GELU()]
        halved = max(in_dim // 2, 1)
        layers.append(nn.ConvTranspose2d(in_dim, halved, 2, stride=2))
        in_dim, reduction = halved, reduction // 2
    while reduction < level:
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
        reduction *= 2
    # Without biases: the norm behind each convolution has one.
    return nn.Sequential(
        *layers,
        nn.Conv2d(in_dim, dim, 1, bias=False),
        LayerNorm2d(dim),
        nn.Conv2d(dim, dim, 3, padding=1, bias=False),
        LayerNorm2d(dim),
    )
