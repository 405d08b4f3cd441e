"""Stacked mechanisms that transform their maps: Re-attention, and Refiner with its distributed local attention.

Shapes:  K members, B images, N tokens, D dim, H heads of a member, M maps of a member that weigh V.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from modelzoo.attention.distributed_local_attention import DistributedLocalAttention
from modelzoo.attention.reattention import Reattention
from modelzoo.attention.refiner import MapSharingAttention, RefinedAttention
from modelzoo.stacked.layer import Building, StackedLayer
from modelzoo.stacked.mechanisms.attention import StackedMechanism, weigh

__all__ = [
    "StackedDistributedLocalAttention",
    "StackedMapSharingAttention",
    "StackedReattention",
    "StackedRefinedAttention",
]


class StackedReattention(StackedMechanism):
    """`Reattention`."""

    may_lack = ("reatten_matrix", "var_norm")
    reatten_matrix: StackedLayer | None
    var_norm: StackedLayer | None

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, Reattention)
        self._scale, self._map_scale = first.scale, first.map_scale

    def attend(self, x_KBND: Tensor, incoming_BKMNN: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        q, k, v = self.qkv(x_KBND).chunk(3, dim=-1)
        attn = self.transform(self.attn_drop.of_maps(self.softmax_maps(q, k, self._scale)))
        return self.merge(weigh(attn, v)), attn

    def transform(self, softmax_BKHNN: Tensor) -> Tensor:
        if self.reatten_matrix is None:
            return softmax_BKHNN
        mixed = self.reatten_matrix(softmax_BKHNN)
        if self.var_norm is not None:
            mixed = self.var_norm(mixed)
        return mixed if self._map_scale == 1 else mixed * self._map_scale


class StackedRefinedAttention(StackedMechanism):
    """`RefinedAttention`."""

    may_lack = ("DLA", "adapt_bn")
    DLA: StackedLayer | None
    adapt_bn: StackedLayer | None

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, RefinedAttention)
        self._scale = first.scale

    def attend(self, x_KBND: Tensor, incoming_BKMNN: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        q, k, v = self.qkv(x_KBND).chunk(3, dim=-1)
        attn = self.softmax_maps(q, k, self._scale)
        if incoming_BKMNN is not None:
            attn = attn + incoming_BKMNN * self._scale
        attn = self.transform(self.attn_drop.of_maps(attn))
        return self.merge(weigh(attn, v)), attn

    def transform(self, softmax_BKHNN: Tensor) -> Tensor:
        if self.DLA is None or self.adapt_bn is None:
            return softmax_BKHNN
        return self.adapt_bn(self.DLA(softmax_BKHNN))


class StackedMapSharingAttention(StackedMechanism):
    """`MapSharingAttention`."""

    may_lack = ("DLA", "adapt_bn")
    DLA: StackedLayer | None
    adapt_bn: StackedLayer | None

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, MapSharingAttention)
        self._scale = first.scale

    def attend(self, x_KBND: Tensor, incoming_BKMNN: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        assert incoming_BKMNN is not None, "the block before hands on its map"
        attn = incoming_BKMNN
        if self.DLA is not None and self.adapt_bn is not None:
            attn = self.adapt_bn(self.DLA(attn)) * self._scale
        return self.merge(weigh(attn, self.qkv(x_KBND))), incoming_BKMNN


class StackedDistributedLocalAttention(StackedLayer):
    """`DistributedLocalAttention`: (B, K * H, N, N) -> (B, K * M, N, N)."""

    conv_exp: StackedLayer
    bn1: StackedLayer
    depth_sep_conv: StackedLayer
    bn2: StackedLayer
    conv_pro: StackedLayer
    bn3: StackedLayer
    act: StackedLayer

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, DistributedLocalAttention)
        self._expands, self._reduces, self._adds = first.expands, first.reduces, first.adds_identity

    def forward(self, maps: Tensor) -> Tensor:
        x = maps
        if self._expands:
            x = self.act(self.bn1(self.conv_exp(x)))
        x = self.act(self.bn2(self.depth_sep_conv(x)))
        if self._reduces:
            x = self.bn3(self.conv_pro(x))
        return x + maps if self._adds else x
