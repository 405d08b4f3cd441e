"""Segmentation network: backbone, pyramid, decode head and auxiliary head, built from an architecture.

The parts draw their weights from streams of their own: a backbone has the same weights under every head, and a head
the same under every backbone of equal widths, so that variants share whatever they have in common bit for bit.

Shapes:  B images, K classes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from modelzoo.dense.backbone import Backbone, build_backbone
from modelzoo.dense.heads.fcn import FCNHead
from modelzoo.dense.heads.semantic_fpn import SemanticFPNHead
from modelzoo.dense.heads.units import resize
from modelzoo.dense.heads.upernet import UperNetHead
from modelzoo.dense.options import Layout, SegmenterOptions, resolve_options
from modelzoo.dense.parameter_groups import matcher_with_prefix
from modelzoo.dense.pyramid import LevelNorms, build_pyramid
from modelzoo.factory.part_streams import own_random_numbers
from search_space.schema.trial import ArchSpec

__all__ = ["Segmentation", "Segmenter", "build_segmenter"]


class Segmentation(NamedTuple):
    """Logits (B, K, H, W) of every pixel; in training with an auxiliary head also that head's, at the same size."""

    logits: torch.Tensor
    auxiliary: torch.Tensor | None


class Segmenter(nn.Module):
    """Images (B, in_chans, H, W) -> `Segmentation` at their size.

    Attributes:
        backbone: Images -> maps.
        neck: Maps -> maps that the heads take.
        decode_head: Those maps -> logits at the size of the finest.
        auxiliary_head: The second coarsest of those maps -> logits at its size; None without auxiliary loss. Used in
            training only.
        layout: The options that are in use; `layout.aux_weight` belongs into the loss.
    """

    def __init__(
        self,
        backbone: Backbone,
        neck: nn.Module,
        decode_head: UperNetHead | SemanticFPNHead,
        auxiliary_head: FCNHead | None,
        layout: Layout,
    ) -> None:
        super().__init__()
        self.backbone, self.neck = backbone, neck
        self.decode_head, self.auxiliary_head = decode_head, auxiliary_head
        self.layout = layout

    @staticmethod
    def auxiliary_map(maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """The map that the auxiliary head takes, of those of the neck."""
        return maps[_auxiliary_level(maps)]

    def no_weight_decay(self) -> set[str]:
        """Names of parameters without weight decay: those of the backbone; norms and biases timm excludes itself."""
        return {f"backbone.{name}" for name in self.backbone.no_weight_decay()}

    def group_matcher(self, coarse: bool = False) -> Any:
        """Parameter groups by depth, for layer-wise learning rates; neck and heads are the last group."""
        return matcher_with_prefix(self.backbone.group_matcher(coarse=coarse), "backbone.")

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block of the backbone in the backward pass instead of keeping its activations."""
        self.backbone.set_grad_checkpointing(enable)

    def forward(self, images: torch.Tensor) -> Segmentation:
        """Logits of every pixel.

        Raises:
            SpecError: a size that the backbone does not take, or a batch of one image where the head needs two.
        """
        maps, size = self.neck(self.backbone(images)), images.shape[-2:]
        auxiliary = None
        if self.training and self.auxiliary_head is not None:
            auxiliary = resize(self.auxiliary_head(self.auxiliary_map(maps)), size)
        return Segmentation(resize(self.decode_head(maps), size), auxiliary)


def build_segmenter(
    arch: ArchSpec,
    *,
    num_classes: int,
    img_size: int | tuple[int, int],
    in_chans: int,
    options: SegmenterOptions | None = None,
    seed: int | None = None,
) -> Segmenter:
    """Build a segmentation network in training mode, freshly initialised on the current default device.

    Args:
        img_size: The canvas for which the backbone is built.
        options: None: UperNet with its defaults.
        seed: As in `build_backbone`, whose weights the backbone has; each other part draws from a stream of its own.

    Raises:
        SpecError: architecture, canvas and options do not fit; paths are below `arch` and `task`.
    """
    backbone = build_backbone(arch, img_size=img_size, in_chans=in_chans, seed=seed)
    seed = torch.initial_seed() if seed is None else seed
    layout = resolve_options(options or SegmenterOptions(), backbone.reductions)
    with own_random_numbers(seed, "neck"):
        neck, channels, reductions = _build_neck(backbone, layout)
    with own_random_numbers(seed, "decode_head"):
        decode_head = _build_head(channels, reductions, num_classes, layout)
    auxiliary_head = None
    if layout.aux_dim is not None:
        in_dim = channels[_auxiliary_level(channels)]
        with own_random_numbers(seed, "auxiliary_head"):
            auxiliary_head = FCNHead(in_dim, num_classes, head_dim=layout.aux_dim, dropout=layout.head_dropout)
    return Segmenter(backbone, neck, decode_head, auxiliary_head, layout)


def _auxiliary_level(levels: Sequence[object]) -> int:
    """Index of the second coarsest level, reduction 16 of 4 to 32."""
    return max(len(levels) - 2, 0)


def _build_neck(backbone: Backbone, layout: Layout) -> tuple[nn.Module, tuple[int, ...], tuple[int, ...]]:
    """Module between backbone and heads, and the channels and reductions of its maps."""
    channels, reductions = backbone.channels, backbone.reductions
    norms = [LevelNorms(channels)] if layout.level_norm else []
    if layout.pyramid_dim is None:
        return nn.Sequential(*norms), channels, reductions
    pyramid = build_pyramid(layout.pyramid, channels, reductions, dim=layout.pyramid_dim)
    return nn.Sequential(*norms, pyramid), pyramid.channels, pyramid.reductions


def _build_head(
    channels: Sequence[int], reductions: Sequence[int], num_classes: int, layout: Layout
) -> UperNetHead | SemanticFPNHead:
    if layout.pool_scales is None:
        return SemanticFPNHead(channels, reductions, num_classes, head_dim=layout.head_dim, dropout=layout.head_dropout)
    return UperNetHead(
        channels, num_classes, head_dim=layout.head_dim, pool_scales=layout.pool_scales, dropout=layout.head_dropout
    )
