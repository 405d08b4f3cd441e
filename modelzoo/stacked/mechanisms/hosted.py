"""Stacked attention of a host with a mechanism in its middle (`hosts/hosted_attention.py`), as a `vit` may have it.

A `vit` has one projection of q, k and v, perhaps norms of q, k and the output; rotary positions, biases of the logits
and gates belong to other models.

Shapes:  K members, B images, N tokens, A attention dim.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from modelzoo.attention.contract import softmax_map
from modelzoo.hosts.hosted_attention import HostedAttention, HostedMapAttention
from modelzoo.stacked.dropout import StackedDropout
from modelzoo.stacked.layer import Building, StackedLayer
from modelzoo.stacked.mechanisms.attention import StackedMechanism, split_heads, weigh
from modelzoo.stacked.mechanisms.groupmix import StackedGroupMixAttention

__all__ = ["StackedHostedGroupMixAttention", "StackedHostedMapAttention"]

_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "q_bias", "k_bias", "v_bias")
_BIASES = ("rel_pos", "relative_position_bias_table", "relative_position_index")


class _StackedHosted(StackedLayer):
    may_lack = (*_PROJECTIONS, "norm", "gate")
    qkv: StackedLayer
    norm: StackedLayer | None
    proj: StackedLayer
    proj_drop: StackedLayer

    @staticmethod
    def reason(layer: nn.Module) -> str | None:
        assert isinstance(layer, HostedAttention)
        given = [name for name in (*_PROJECTIONS, *_BIASES, "gate") if getattr(layer, name, None) is not None]
        return f"has attention with parts that are not stacked ({', '.join(given)})" if given else None

    def finish(self, out_KBNA: Tensor) -> Tensor:
        if self.norm is not None:
            out_KBNA = self.norm(out_KBNA)
        return self.proj_drop(self.proj(out_KBNA))


class StackedHostedMapAttention(_StackedHosted):
    """`HostedMapAttention`."""

    may_lack = (*_PROJECTIONS, *_BIASES, "norm", "gate", "q_norm", "k_norm")
    q_norm: StackedLayer | None
    k_norm: StackedLayer | None
    attn_drop: StackedDropout
    mechanism: StackedMechanism

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, HostedMapAttention)
        self._num_heads, self._scale = first.num_heads, first.scale

    def forward(self, x_KBND: Tensor) -> Tensor:
        q, k, v = self.qkv(x_KBND).chunk(3, dim=-1)
        q, k = (_normed(norm, each, self._num_heads) for norm, each in ((self.q_norm, q), (self.k_norm, k)))
        q, k = split_heads(q, self._num_heads), split_heads(k, self._num_heads)
        attn = self.mechanism.transform(self.attn_drop.of_maps(softmax_map(q, k, self._scale)))
        return self.finish(weigh(attn, v))


class StackedHostedGroupMixAttention(_StackedHosted):
    """`HostedGroupMixAttention`."""

    mechanism: StackedGroupMixAttention

    def forward(self, x_KBND: Tensor) -> Tensor:
        return self.finish(self.mechanism.mix(self.qkv(x_KBND)))


def _normed(norm: StackedLayer | None, x_KBND: Tensor, num_heads: int) -> Tensor:
    return x_KBND if norm is None else norm(x_KBND.unflatten(-1, (num_heads, -1))).flatten(-2)
