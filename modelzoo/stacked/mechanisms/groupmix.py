"""Stacked Group-Mix attention and its spatial parts.

The segments are images (channels before pixels) from the projection to the mixed values, because convolutions and norms
take them so; the single mechanism returns to tokens between them.

Shapes:  K members, B images, P prefix tokens, N tokens (P + h * w), S channels of a segment, G attention segments,
         T attention channels (G * S), H heads, E channels per head (T = H * E), C = K * S channels of all members.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.attention.groupmix import GroupMixAttention
from modelzoo.attention.groupmix_aggregators import Aggregator, ConvolutionalPosition
from modelzoo.stacked.layer import Building, StackedLayer
from modelzoo.stacked.maps import StackedBatchNorm2d
from modelzoo.stacked.mechanisms.attention import StackedMechanism

__all__ = [
    "StackedAggregator",
    "StackedConvolutionalPosition",
    "StackedGroupMixAttention",
    "StackedLocalBranch",
    "StackedSeparableConvolution",
]


class StackedGroupMixAttention(StackedMechanism):
    """`GroupMixAttention`."""

    may_lack = ("crpe",)
    aggregator: StackedAggregator
    crpe: StackedLayer | None

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, GroupMixAttention)
        assert first.slot.grid_size is not None
        self._grid, self._num_prefix = first.slot.grid_size, first.slot.num_prefix_tokens
        self._scale, self._straddles, self._num_attending = first.scale, first.straddles, first.num_attending

    @staticmethod
    def reason(layer: nn.Module) -> str | None:
        assert isinstance(layer, GroupMixAttention)
        return "uses Group-Mix attention on grids of any size" if layer.slot.grid_size is None else None

    def attend(self, x_KBND: Tensor, incoming_BKMNN: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return self.merge(self.mix(self.qkv(x_KBND))), None

    def mix(self, qkv_KBN3D: Tensor) -> Tensor:
        """Mixed values (K, B, N, D) of the projection's (K, B, N, 3 * D)."""
        K, B, N, _ = qkv_KBN3D.shape
        qkv_3BKDN = qkv_KBN3D.view(K, B, N, 3, -1).permute(3, 1, 0, 4, 2)
        mixed_3BKTN, local_KBNS = self.aggregator(qkv_3BKDN, self._grid, self._num_prefix)
        if self._straddles:  # as in the single mechanism
            mixed_3BKTN = mixed_3BKTN.unflatten(3, (self._num_attending, -1)).transpose(3, 4).flatten(3, 4)
        q, k, v = mixed_3BKTN.view(3, B, K * self.slot.num_heads, -1, N).unbind(0)
        # The mask is drawn token by token, as the single mechanism holds softmax(k).
        weights_BHNE = k.softmax(dim=-1).transpose(2, 3)
        context = self.attn_drop.of_maps(weights_BHNE).transpose(2, 3) @ v.transpose(2, 3)
        out_BHEN = self._scale * (context.transpose(2, 3) @ q)
        if self.crpe is not None:
            out_BHEN = out_BHEN + self.crpe(q, v, self._grid, self._num_prefix)
        out_BKTN = out_BHEN.view(B, K, -1, N)
        if self._straddles:
            out_BKTN = out_BKTN.unflatten(2, (-1, self._num_attending)).transpose(2, 3).flatten(2, 3)
        out_KBNT = out_BKTN.permute(1, 0, 3, 2)
        return out_KBNT if local_KBNS is None else torch.cat((out_KBNT, local_KBNS), dim=-1)


class StackedAggregator(StackedLayer):
    """`Aggregator`: q, k and v (3, B, K, D, N) to their attention channels, and the local branch's tokens."""

    may_lack = ("agg0",)
    agg0: StackedLayer | None
    act: StackedLayer

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, Aggregator)
        self._segment_dim, self._first = first.segment_dim, first.first

    def forward(self, qkv_3BKDN: Tensor, grid_size: tuple[int, int], num_prefix: int) -> tuple[Tensor, Tensor | None]:
        _, B, K, _, N = qkv_3BKDN.shape
        segments = list(qkv_3BKDN.split(self._segment_dim, dim=3))
        local_KBNS = None
        if self.agg0 is not None:
            local_KBNS = self.agg0(segments.pop().permute(1, 2, 0, 3, 4).flatten(2, 3), grid_size, num_prefix)
        mixed = []
        for index, segment in enumerate(segments, start=self._first):
            prefix, image = to_image(segment.reshape(3 * B, -1, N), grid_size, num_prefix)
            norm = self.get_submodule(f"norm{index}")
            assert isinstance(norm, StackedBatchNorm2d)
            if index:
                prefix, image = self.get_submodule(f"agg{index}")(prefix, image, num_prefix)
            if num_prefix:  # with the statistics of the patches
                prefix = _normalised_prefix(norm, prefix, image)
            mixed.append(self.act(_to_channels(prefix, norm(image), num_prefix)).view(3, B, K, -1, N))
        return torch.cat(mixed, dim=3), local_KBNS


class StackedSeparableConvolution(StackedLayer):
    """`SeparableConvolution`."""

    conv1: StackedLayer
    pointwise_conv: StackedLayer

    def forward(self, prefix_BCP1: Tensor, image_BCHW: Tensor, num_prefix: int) -> tuple[Tensor, Tensor]:
        image_BCHW = self.pointwise_conv(self.conv1(image_BCHW))
        return (self.pointwise_conv(prefix_BCP1) if num_prefix else prefix_BCP1), image_BCHW


class StackedLocalBranch(StackedLayer):
    """`LocalBranch`: (B, K, 3 * S, N) -> tokens (K, B, N, S)."""

    conv: StackedLayer
    norm: StackedLayer
    act: StackedLayer

    def forward(self, x_BKSN: Tensor, grid_size: tuple[int, int], num_prefix: int) -> Tensor:
        B, K, _, N = x_BKSN.shape
        prefix, image = self.conv(*to_image(x_BKSN.reshape(B, -1, N), grid_size, num_prefix), num_prefix)
        x_KBNS = _to_channels(prefix, image, num_prefix).view(B, K, -1, N).permute(1, 0, 3, 2)
        return self.act(self.norm(x_KBNS))


class StackedConvolutionalPosition(StackedLayer):
    """`ConvolutionalPosition`: of q and v (B, K * H, E, N); zero for prefix tokens."""

    conv_list: StackedLayer

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, ConvolutionalPosition)
        self._num_channels = first.num_channels

    def forward(self, q: Tensor, v: Tensor, grid_size: tuple[int, int], num_prefix: int) -> Tensor:
        B, heads, E, N = v.shape
        K = self.num_members
        images = v.view(B, K, -1, N)[..., num_prefix:].split(self._num_channels, dim=2)
        around = [
            conv(image.reshape(B, -1, *grid_size)).view(B, K, -1, N - num_prefix)
            for conv, image in zip(self.conv_list.children(), images, strict=True)
        ]
        around_BHEN = torch.cat(around, dim=2).view(B, heads, E, -1)
        if not num_prefix:
            return q * around_BHEN
        return F.pad(q[..., num_prefix:] * around_BHEN, (num_prefix, 0))


def to_image(x_BCN: Tensor, grid_size: tuple[int, int], num_prefix: int) -> tuple[Tensor, Tensor]:
    """Split into prefix (B, C, P, 1) and patch image (B, C, h, w)."""
    return x_BCN[:, :, :num_prefix, None], x_BCN[:, :, num_prefix:].unflatten(2, grid_size)


def _to_channels(prefix_BCP1: Tensor, image_BCHW: Tensor, num_prefix: int) -> Tensor:
    """The inverse of `to_image`: (B, C, N)."""
    image_BCN = image_BCHW.flatten(2)
    return torch.cat((prefix_BCP1.flatten(2), image_BCN), dim=2) if num_prefix else image_BCN


def _normalised_prefix(norm: StackedBatchNorm2d, prefix_BCP1: Tensor, image_BCHW: Tensor) -> Tensor:
    """As `normalise_prefix` of the single aggregator."""
    if not norm.training:
        return norm(prefix_BCP1)
    # A channel's entries side by side: over several axes, the order of sums would depend on the number of channels.
    var, mean = torch.var_mean(image_BCHW.transpose(0, 1).flatten(1), dim=1, keepdim=True, correction=0)
    gain = norm.weight.reshape(-1, 1) * (var + norm.eps).rsqrt()
    prefix_CBP = prefix_BCP1.transpose(0, 1)
    flat = (prefix_CBP.flatten(1) - mean) * gain + norm.bias.reshape(-1, 1)
    return flat.view(prefix_CBP.shape).transpose(0, 1)
