"""Stacked softmax attention, and what all stacked mechanisms share: maps of heads from tokens, and tokens from them.

Shapes:  K members, B images, N tokens, D dim, H heads of a member, E head_dim (D = H * E), M maps that weigh V.
"""

from __future__ import annotations

from collections.abc import Sequence

from timm.layers.attention import Attention
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.attention.contract import TokenAttention, softmax_map
from modelzoo.stacked.dropout import StackedDropout
from modelzoo.stacked.layer import Building, StackedLayer

__all__ = [
    "StackedAttention",
    "StackedMechanism",
    "StackedSoftmaxAttention",
    "plain_attention",
    "split_heads",
    "tokens_of_maps",
    "weigh",
]


_FEW_TOKENS = 40
"""Up to so many, maps that are formed take less time than fused attention (benchmarks/stacked_parts.py)."""


def split_heads(x_KBND: Tensor, num_heads: int) -> Tensor:
    """Tokens as heads among the maps: (B, K * H, N, E)."""
    K, B, N, _ = x_KBND.shape
    return x_KBND.reshape(K, B, N, num_heads, -1).permute(1, 0, 3, 2, 4).flatten(1, 2)


def tokens_of_maps(x: Tensor, num_members: int) -> Tensor:
    """The inverse of `split_heads`: (K, B, N, D)."""
    B, _, N, E = x.shape
    return x.view(B, num_members, -1, N, E).permute(1, 0, 3, 2, 4).flatten(3)


def weigh(attn_BKMNN: Tensor, v_KBND: Tensor) -> Tensor:
    """Tokens (K, B, N, D): product of maps (B, K * M, N, N) and V, whose channels are split among the maps."""
    K = v_KBND.shape[0]
    return tokens_of_maps(attn_BKMNN @ split_heads(v_KBND, attn_BKMNN.shape[1] // K), K)


def plain_attention(q_KBND: Tensor, k_KBND: Tensor, v_KBND: Tensor, num_heads: int) -> Tensor:
    """Softmax attention without dropout, with the shape of the queries; the members are taken as images.

    Of few tokens the maps are formed, which takes 0.6 to 0.8 of the time of torch's kernel for 16 to 36 tokens; from 49
    on the kernel is the faster one.
    """
    q, k, v = (x.flatten(0, 1).unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (q_KBND, k_KBND, v_KBND))
    if k.shape[2] <= _FEW_TOKENS:
        out = softmax_map(q, k, q.shape[-1] ** -0.5) @ v
    else:
        out = F.scaled_dot_product_attention(q, k, v)
    return out.transpose(1, 2).reshape(q_KBND.shape)


class StackedMechanism(StackedLayer):
    """Base of the stacked mechanisms of the zoo."""

    qkv: StackedLayer
    attn_drop: StackedDropout
    proj: StackedLayer
    proj_drop: StackedLayer

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, TokenAttention)
        self.slot = first.slot

    def forward(self, x_KBND: Tensor) -> Tensor:
        return self.attend(x_KBND)[0]

    def attend(self, x_KBND: Tensor, incoming_BKMNN: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Tokens after attention, and the map for the next block, as `TokenAttention.attend`."""
        raise NotImplementedError

    def transform(self, softmax_BKHNN: Tensor) -> Tensor:
        """Map that weighs V, as `TokenAttention.transform`."""
        raise NotImplementedError

    def merge(self, x_KBND: Tensor) -> Tensor:
        return self.proj_drop(self.proj(x_KBND))

    def softmax_maps(self, q_KBND: Tensor, k_KBND: Tensor, scale: float) -> Tensor:
        heads = self.slot.num_heads
        return softmax_map(split_heads(q_KBND, heads), split_heads(k_KBND, heads), scale)


class StackedSoftmaxAttention(StackedMechanism):
    """`SoftmaxAttention`. With attention dropout the maps are formed, because torch's kernel draws its own masks."""

    def forward(self, x_KBND: Tensor) -> Tensor:
        if self.attn_drop.is_active:
            return self.attend(x_KBND)[0]
        q, k, v = self.qkv(x_KBND).chunk(3, dim=-1)
        return self.merge(plain_attention(q, k, v, self.slot.num_heads))

    def attend(self, x_KBND: Tensor, incoming_BKMNN: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        q, k, v = self.qkv(x_KBND).chunk(3, dim=-1)
        attn = self.attn_drop.of_maps(self.softmax_maps(q, k, (self.slot.dim // self.slot.num_heads) ** -0.5))
        return self.merge(weigh(attn, v)), attn


class StackedAttention(StackedLayer):
    """timm's `Attention`, also with norms of queries, keys and output, and with a gate."""

    may_lack = ("gate",)
    qkv: StackedLayer
    q_norm: StackedLayer
    k_norm: StackedLayer
    attn_drop: StackedDropout
    norm: StackedLayer
    gate: StackedLayer | None
    proj: StackedLayer
    proj_drop: StackedLayer

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, Attention)
        self._num_heads, self._head_dim, self._scale = first.num_heads, first.head_dim, first.scale

    def forward(self, x_KBND: Tensor) -> Tensor:
        q, k, v = self.qkv(x_KBND).chunk(3, dim=-1)
        q, k = (
            norm(each.unflatten(-1, (-1, self._head_dim))).flatten(-2)
            for norm, each in ((self.q_norm, q), (self.k_norm, k))
        )
        if self.attn_drop.is_active:
            q, k = (split_heads(each, self._num_heads) for each in (q, k))
            out_KBND = weigh(self.attn_drop.of_maps(softmax_map(q, k, self._scale)), v)
        else:
            out_KBND = plain_attention(q, k, v, self._num_heads)
        out_KBND = self.norm(out_KBND)
        if self.gate is not None:
            out_KBND = out_KBND * self.gate(x_KBND).sigmoid()
        return self.proj_drop(self.proj(out_KBND))
