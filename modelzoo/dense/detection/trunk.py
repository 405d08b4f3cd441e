"""Trunk of a detector: backbone, norms and pyramid, and the levels that a detector adds beyond stride 32.

torchvision's detectors take any module from images to named maps of equal width. The further level of Mask R-CNN is
pooled from the coarsest map of the pyramid (P5) and serves the proposals only. P6 and P7 of RetinaNet are convolutions
on the last map of the backbone, as in the paper; on P5 where that map is as wide as the pyramid (torchvision's rule),
and under a simple pyramid, whose backbone has no map of stride 32.

Shapes:  B images, C channels, D pyramid_dim.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelMaxPool, LastLevelP6P7

from modelzoo.dense.backbone import build_backbone, built_for
from modelzoo.dense.detection.options import DetectorOptions
from modelzoo.dense.input_sizes import measured_features
from modelzoo.dense.levels import is_isotropic
from modelzoo.dense.pyramid import LevelNorms, build_pyramid
from modelzoo.factory.part_streams import own_random_numbers
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.trial import ArchSpec

__all__ = ["Trunk", "build_trunk", "further_levels"]

_COARSEST = 32


class Trunk(nn.Module):
    """Images (B, C, H, W) -> maps (B, D, h, w) by name, the finest first: `0`, `1`, ..., then the further levels.

    Attributes:
        body: Images -> maps, as `Backbone`.
        norms: Maps -> normalised maps; None: as they are.
        pyramid: Those maps -> maps of equal width.
        further: Adds the levels beyond the pyramid's; None: none.
        out_channels: D, as torchvision calls it.
        names: Names of the pyramid's levels, which boxes are pooled from.
        num_levels: With the further ones.
    """

    def __init__(
        self,
        body: nn.Module,
        norms: nn.Module | None,
        pyramid: nn.Module,
        further: ExtraFPNBlock | None,
        *,
        dim: int,
        levels: int,
    ) -> None:
        super().__init__()
        self.body, self.norms, self.pyramid, self.further = body, norms, pyramid, further
        self.out_channels = dim
        self.names = tuple(str(level) for level in range(levels))
        self.num_levels = levels + (0 if further is None else 2 if isinstance(further, LastLevelP6P7) else 1)

    def forward(self, images: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
        given: list[torch.Tensor] = self.body(images)
        if self.norms is not None:
            given = self.norms(given)
        maps: list[torch.Tensor] = self.pyramid(given)
        names = list(self.names)
        if self.further is not None:
            maps, names = self.further(maps, given, names)
        return OrderedDict(zip(names, maps, strict=True))


def further_levels(detector: str, in_dim: int, dim: int) -> ExtraFPNBlock:
    """The levels beyond the pyramid that a detector has, as a module of torchvision.

    Args:
        in_dim: Channels of the map of which RetinaNet makes P6; those of the pyramid: P5.
    """
    return LastLevelP6P7(in_dim, dim) if detector == "retinanet" else LastLevelMaxPool()


def build_trunk(
    arch: ArchSpec, *, canvas: tuple[int, int], in_chans: int, options: DetectorOptions, seed: int | None
) -> Trunk:
    """Build the trunk in training mode; the backbone has the weights of `build_backbone` with this seed.

    Raises:
        SpecError: the architecture has no map of the finest stride, or cannot be built.
    """
    backbone = build_backbone(
        arch,
        img_size=canvas,
        in_chans=in_chans,
        out_indices=_levels_from(arch, canvas, in_chans, options.finest),
        seed=seed,
    )
    seed = torch.initial_seed() if seed is None else seed
    kind, channels, reductions = options.pyramid, backbone.channels, backbone.reductions
    with own_random_numbers(seed, "neck"):
        norms = None if backbone.is_isotropic else LevelNorms(channels)
        pyramid = build_pyramid(kind, channels, reductions, dim=options.pyramid_dim, finest=options.finest)
    further = None
    if options.coarse_levels:
        with own_random_numbers(seed, "further_levels"):
            in_dim = options.pyramid_dim if backbone.is_isotropic else channels[-1]
            further = further_levels(options.detector, in_dim, options.pyramid_dim)
    return Trunk(backbone, norms, pyramid, further, dim=options.pyramid_dim, levels=len(pyramid.reductions))


def _levels_from(arch: ArchSpec, canvas: tuple[int, int], in_chans: int, finest: int) -> tuple[int, ...] | None:
    """Indices of the maps from the finest stride on, so that no stage is normalised that no level is made from."""
    found = measured_features(built_for(arch, canvas), canvas=canvas, in_chans=in_chans, out_indices=None)
    if is_isotropic(found.reductions):
        return None
    if finest not in found.reductions or finest >= _COARSEST:
        legal = [reduction for reduction in found.reductions if reduction < _COARSEST]
        raise SpecError(
            Problem(
                f"{arch.model!r} has no feature map of stride {finest} below {_COARSEST}",
                path="task.finest_stride",
                hint=f"its strides are {', '.join(map(str, legal))}",
            )
        )
    return tuple(level for level, reduction in zip(found.levels, found.reductions, strict=True) if reduction >= finest)
