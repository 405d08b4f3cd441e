"""Pyramids: maps of a backbone -> maps of equal width, one per level, for decode heads and detectors.

`fpn` merges the levels of a multi-stage backbone from coarse to fine; `simple` makes all levels of the last map of an
isotropic one. Both are modules from a list of maps to a list of maps with `channels` and `reductions`.

Paper:   Feature Pyramid Networks for Object Detection, Lin et al. 2017, arXiv:1612.03144.
Source:  torchvision's FeaturePyramidNetwork; equality with mmsegmentation's neck is tested.

Shapes:  B images, C channels per level, D pyramid_dim.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from timm.layers.norm import LayerNorm2d
from torch import nn
from torchvision.ops import FeaturePyramidNetwork

from modelzoo.dense.simple_pyramid import SimplePyramid
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["PYRAMIDS", "FeaturePyramid", "LevelNorms", "build_pyramid", "default_pyramid", "fitting_pyramid"]

PYRAMIDS = ("fpn", "simple")


class LevelNorms(nn.Module):
    """A layer norm over the channels of each map, because maps are taken before the model's final norm.

    The detectors of Swin and RegionViT have such a norm at every level. It looks at one pixel at a time, so that the
    padding of an image changes nothing elsewhere; a group norm over the whole map would not.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.norms = nn.ModuleList(LayerNorm2d(dim) for dim in channels)

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return [norm(each) for norm, each in zip(self.norms, maps, strict=True)]


class FeaturePyramid(nn.Module):
    """Maps of a multi-stage backbone, the finest first -> as many maps (B, D, H, W) of the same sizes."""

    def __init__(self, channels: Sequence[int], reductions: Sequence[int], dim: int) -> None:
        super().__init__()
        self.channels, self.reductions = (dim,) * len(channels), tuple(reductions)
        self.fpn = FeaturePyramidNetwork(list(channels), dim)

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        named = OrderedDict((str(level), each) for level, each in enumerate(maps))
        return list(self.fpn(named).values())


def default_pyramid(reductions: Sequence[int]) -> str:
    """`fpn` for several reductions, `simple` for one."""
    return "fpn" if len(set(reductions)) > 1 else "simple"


def fitting_pyramid(kind: str | None, reductions: Sequence[int]) -> str:
    """The kind, or the default by the reductions.

    Raises:
        SpecError: an unknown pyramid, or one that the levels do not allow.
    """
    fitting = default_pyramid(reductions)
    if kind is None or kind == fitting:
        return fitting
    if kind not in PYRAMIDS:
        raise SpecError(Problem(f"unknown pyramid {kind!r}", path="task.pyramid", hint=did_you_mean(kind, PYRAMIDS)))
    found = "one reduction" if fitting == "simple" else "several reductions"
    raise SpecError(
        Problem(
            f"pyramid {kind!r} does not fit a backbone with {found}: {list(reductions)}",
            path="task.pyramid",
            hint=f"write pyramid: {fitting}, or leave it out",
        )
    )


def build_pyramid(
    kind: str | None, channels: Sequence[int], reductions: Sequence[int], *, dim: int, finest: int = 4
) -> FeaturePyramid | SimplePyramid:
    """Build a pyramid on a backbone with these levels; None: the default by its reductions.

    Args:
        finest: Reduction of the finest level of a simple pyramid; a feature pyramid has the levels of the backbone.

    Raises:
        SpecError: an unknown pyramid, or one that the levels do not allow.
    """
    if fitting_pyramid(kind, reductions) == "fpn":
        return FeaturePyramid(channels, reductions, dim)
    return SimplePyramid(channels[-1], reductions[-1], dim, finest=finest)
