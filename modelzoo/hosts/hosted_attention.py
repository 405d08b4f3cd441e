"""Attention of a host with a mechanism in its middle, between the host's projections and its norm, gate and output.

    q, k, v = projections of x          one linear layer or three; biases on all, none, or q and v; grouped k and v
    q, k    = rotated(normalised(q, k))                         qk_norm, rotary positions (prefix tokens have none)
    A       = transform(softmax(q k^T * scale + bias))          bias: relative positions of the block, or shared ones
    y       = proj(norm(A v) * sigmoid(gate(x)))

Mechanisms that mix maps act on the softmax map, after everything that the host does to its logits. Group-Mix forms no
logits: norms of q and k, rotations and biases have no place in it and go.

Source:  written from timm's interface; equal to timm's own modules at the identity (see tests).

Shapes:  B images, N tokens (P prefix), D dim, H heads, E head_dim, A attention dim (H * E), M maps that weigh V.
"""

from __future__ import annotations

import torch
from timm.layers.pos_embed_rel import RelPosBias, RelPosMlp
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models import register_notrace_module
from torch import nn
from torch.nn import functional as F

from modelzoo.attention.contract import TokenAttention, unmasked
from modelzoo.attention.groupmix import GroupMixAttention

__all__ = [
    "PARTS",
    "HostedAttention",
    "HostedGroupMixAttention",
    "HostedMapAttention",
    "adopt",
    "mix_groups",
]

_BEFORE = ("qkv", "q_proj", "k_proj", "v_proj", "q_bias", "k_bias", "v_bias")
_BEHIND = ("norm", "gate", "proj", "proj_drop")
_OF_LOGITS = ("q_norm", "k_norm", "rel_pos", "relative_position_bias_table", "relative_position_index", "attn_drop")
PARTS = frozenset((*_BEFORE, *_OF_LOGITS, *_BEHIND))
"""Modules, parameters and buffers that these classes understand; a host with others is none of theirs."""


def adopt(owner: nn.Module, host: nn.Module, *names: str) -> None:
    """Give `owner` parts of `host` under their names; None for those that the host lacks."""
    saved = host.state_dict()
    for name in names:
        part = getattr(host, name, None)
        if isinstance(part, nn.Parameter):
            owner.register_parameter(name, part)
        elif isinstance(part, torch.Tensor):
            owner.register_buffer(name, part, persistent=name in saved)
        else:
            owner.register_module(name, part)


class HostedAttention(nn.Module):
    """Projections and output of a host's attention; the classes below are what is between."""

    qkv: nn.Linear | None
    q_proj: nn.Linear
    k_proj: nn.Linear
    v_proj: nn.Linear
    q_bias: nn.Parameter | None
    k_bias: torch.Tensor
    v_bias: nn.Parameter
    norm: nn.Module | None
    gate: nn.Linear | None
    proj: nn.Module
    proj_drop: nn.Module

    def __init__(self, host: nn.Module, mechanism: TokenAttention) -> None:
        super().__init__()
        adopt(self, host, *_BEFORE, *_BEHIND)
        if isinstance(mechanism.proj, nn.Identity):  # a mechanism without output projection, by an option
            self.proj = nn.Identity()
        self.num_heads = mechanism.slot.num_heads
        mechanism.drop_linears()
        self.mechanism = mechanism
        self.train(host.training)

    def project(self, x_BND: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """q, k and v, each (B, N, A); k and v are narrower if they have fewer heads."""
        if self.qkv is None:
            return self.q_proj(x_BND), self.k_proj(x_BND), self.v_proj(x_BND)
        if self.q_bias is None:
            return self.qkv(x_BND).chunk(3, dim=-1)
        bias = torch.cat((self.q_bias, self.k_bias, self.v_bias))
        return F.linear(x_BND, self.qkv.weight, bias).chunk(3, dim=-1)

    def finish(self, x_BND: torch.Tensor, out_BNA: torch.Tensor) -> torch.Tensor:
        """Norm, gate and projection of the mixed values; the gate reads the tokens that came in."""
        if self.norm is not None:
            out_BNA = self.norm(out_BNA)
        if self.gate is not None:
            out_BNA = out_BNA * self.gate(x_BND).sigmoid()
        return self.proj_drop(self.proj(out_BNA))


class HostedMapAttention(HostedAttention):
    """A host's softmax attention whose maps a mechanism transforms before they weigh V."""

    q_norm: nn.Module | None
    k_norm: nn.Module
    attn_drop: nn.Module
    rel_pos: RelPosBias | RelPosMlp | None
    relative_position_bias_table: nn.Parameter | None
    relative_position_index: torch.Tensor
    scale: float
    num_prefix_tokens: int
    rotate_half: bool

    def __init__(self, host: nn.Module, mechanism: TokenAttention) -> None:
        super().__init__(host, mechanism)
        adopt(self, host, *_OF_LOGITS)
        self.scale = float(host.scale)  # pyright: ignore[reportArgumentType]
        self.num_prefix_tokens = getattr(host, "num_prefix_tokens", 0)
        self.rotate_half = getattr(host, "rotate_half", False)

    def forward(
        self,
        x_BND: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        is_causal: bool = False,
        *,
        rope: torch.Tensor | None = None,
        shared_rel_pos_bias: torch.Tensor | None = None,
        shared_rel_pos: torch.Tensor | None = None,
    ) -> torch.Tensor:
        x_BND = unmasked(x_BND, attn_mask, is_causal, type(self.mechanism).__name__)
        with self.mechanism.in_query_precision(x_BND) as wide:
            q_BHNE, k_BHNE, v_BHNE = self._heads(wide(x_BND), rope)
        with self.mechanism.in_map_precision(q_BHNE) as wide:
            bias = self._position_bias(shared_rel_pos if shared_rel_pos_bias is None else shared_rel_pos_bias)
            logits = (wide(q_BHNE) * self.scale) @ wide(k_BHNE).transpose(-2, -1)
            if bias is not None:
                logits = logits + wide(bias)
            attn_BMNN = self.mechanism.transform(self.attn_drop(logits.softmax(dim=-1)))
        return self.finish(x_BND, self.mechanism.weigh(attn_BMNN, v_BHNE).transpose(1, 2).flatten(2))

    def _heads(self, x_BND: torch.Tensor, rope: torch.Tensor | None) -> list[torch.Tensor]:
        q, k, v = self.project(x_BND)
        head_dim = q.shape[-1] // self.num_heads
        q, k, v = (each.unflatten(-1, (-1, head_dim)).transpose(1, 2) for each in (q, k, v))
        if self.q_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if rope is not None:
            q, k = self._rotated(q, rope).type_as(v), self._rotated(k, rope).type_as(v)
        # Grouped queries: as many heads of k and v as of q, so that every map has its own V.
        groups = [self.num_heads // each.shape[1] for each in (q, k, v)]
        return [each.repeat_interleave(n, dim=1) if n > 1 else each for n, each in zip(groups, (q, k, v), strict=True)]

    def _rotated(self, x_BHNE: torch.Tensor, rope: torch.Tensor) -> torch.Tensor:
        prefix, patches = x_BHNE.split((self.num_prefix_tokens, x_BHNE.shape[2] - self.num_prefix_tokens), dim=2)
        return torch.cat([prefix, apply_rot_embed_cat(patches, rope, half=self.rotate_half)], dim=2)

    def _position_bias(self, shared: torch.Tensor | None) -> torch.Tensor | None:
        """Bias of the logits, broadcast over images; None without one."""
        if self.relative_position_bias_table is not None:
            index_TT = self.relative_position_index
            own = self.relative_position_bias_table[index_TT.flatten()].view(*index_TT.shape, -1).permute(2, 0, 1)
            return own if shared is None else own + shared
        return shared if self.rel_pos is None else self.rel_pos.get_bias()


class HostedGroupMixAttention(HostedAttention):
    """A host's projections and output around Group-Mix, which has no place for the host's positions in the logits."""

    def forward(
        self, x_BND: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False, **_positions: object
    ) -> torch.Tensor:
        x_BND = unmasked(x_BND, attn_mask, is_causal, type(self.mechanism).__name__)
        return mix_groups(self, x_BND)


def mix_groups(attention: HostedAttention, x_BND: torch.Tensor) -> torch.Tensor:
    """Tokens after Group-Mix between the projections and the output of a host's attention."""
    assert isinstance(attention.mechanism, GroupMixAttention)
    with attention.mechanism.in_query_precision(x_BND) as wide:
        qkv_3BND = torch.stack(attention.project(wide(x_BND)))
    return attention.finish(x_BND, attention.mechanism.mix(qkv_3BND))


# A leaf of timm's tracer: a trace through it would lose the precision of its maps.
register_notrace_module(HostedAttention)
