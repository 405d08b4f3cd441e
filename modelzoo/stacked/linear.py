"""Stacked linear layers, and what else acts on the channels of tokens: LayerNorm, LayerScale, patch embedding.

Shapes:  K members, B images, N tokens, D channels that come in, O that come out, P side of a patch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers.norm import LayerNorm
from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.stacked.layer import Building, StackedLayer
from modelzoo.stacked.maps import StackedConv2d

__all__ = ["StackedLayerNorm", "StackedLayerScale", "StackedLinear", "StackedPatchEmbed", "linear", "per_member"]


class StackedLinear(StackedLayer):
    """`nn.Linear` of every member: (K, ..., D) -> (K, ..., O)."""

    may_lack = ("bias",)
    weight: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight_KOD: Tensor, bias_KO: Tensor | None) -> Tensor:
    """x (K, ..., D) times the members' weights, plus their biases: one product of batches."""
    x_KMD = x.reshape(x.shape[0], -1, x.shape[-1])
    weight_KDO = weight_KOD.transpose(1, 2)
    y_KMO = torch.bmm(x_KMD, weight_KDO) if bias_KO is None else torch.baddbmm(bias_KO[:, None], x_KMD, weight_KDO)
    return y_KMO.view(*x.shape[:-1], -1)


def per_member(value: Tensor, x: Tensor) -> Tensor:
    """A member's numbers (K, D) in the shape that broadcasts over x (K, ..., D)."""
    return value.view(value.shape[0], *[1] * (x.ndim - 2), value.shape[1])


class StackedLayerNorm(StackedLayer):
    """`nn.LayerNorm` over the last axis, and timm's form of it."""

    may_lack = ("weight", "bias")
    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, nn.LayerNorm)
        self._shape, self._eps = first.normalized_shape, first.eps

    @staticmethod
    def reason(layer: nn.Module) -> str | None:
        assert isinstance(layer, nn.LayerNorm)
        if len(layer.normalized_shape) != 1:
            return "uses a LayerNorm over more than one axis"
        if isinstance(layer, LayerNorm) and layer._fast_norm:
            return "uses timm's fast LayerNorm"
        return None

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x, self._shape, eps=self._eps)
        if self.weight is None:
            return y
        scale = per_member(self.weight, x)
        return y * scale if self.bias is None else torch.addcmul(per_member(self.bias, x), y, scale)


class StackedLayerScale(StackedLayer):
    """timm's `LayerScale`."""

    gamma: Tensor

    @staticmethod
    def reason(layer: nn.Module) -> str | None:
        return "scales tokens in place (LayerScale inplace)" if layer.inplace else None

    def forward(self, x: Tensor) -> Tensor:
        return x * per_member(self.gamma, x)


class StackedPatchEmbed(StackedLayer):
    """timm's `PatchEmbed`: images (K, B, C, H, W) -> tokens (K, B, N, D), in row-major order.

    Its convolution has kernels beside each other, so it is a linear layer of the pixels of every patch.
    """

    proj: StackedConv2d
    norm: StackedLayer

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        first = members[0]
        assert isinstance(first, PatchEmbed)
        super().__init__(members, building)
        self._patch, self._size = first.proj.kernel_size, first.img_size

    @staticmethod
    def reason(layer: nn.Module) -> str | None:
        assert isinstance(layer, PatchEmbed)
        if not layer.flatten or not layer.strict_img_size or layer.dynamic_img_pad or layer.img_size is None:
            return "takes images of any size"
        return None

    def forward(self, x_KBCHW: Tensor) -> Tensor:
        K, B, C, H, W = x_KBCHW.shape
        if self._size != (H, W):
            raise ValueError(f"images of {H}x{W} pixels for a model of {self._size}")
        high, wide = self._patch
        x = x_KBCHW.reshape(K, B, C, H // high, high, W // wide, wide).permute(0, 1, 3, 5, 2, 4, 6)
        x_KBND = x.reshape(K, B, (H // high) * (W // wide), C * high * wide)
        return self.norm(linear(x_KBND, self.proj.weight.flatten(2), self.proj.bias))
