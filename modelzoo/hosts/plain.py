"""Plain attention as a host: timm's `Attention` without extras, in blocks that call `attn(x)` with all tokens.

The mechanism takes its place whole, with the host's linear layers. Attention with extras (norms of q and k, a gate, a
norm of the output), rotary positions or a position bias is in `tokens.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from timm.layers.attention import Attention
from torch import nn

from modelzoo.attention import ATTENTION, Slot, TokenAttention
from modelzoo.hosts.site import NO_GRID, fixed_grid, make_mechanism

__all__ = ["PlainSite", "is_plain"]


def is_plain(attention: object) -> bool:
    """Whether this is timm's `Attention` and computes what the mechanisms compute around their own middle."""
    # Exactly this class: a subclass computes a different function.
    return (
        type(attention) is Attention
        and all(isinstance(part, nn.Identity) for part in (attention.q_norm, attention.k_norm, attention.norm))
        and attention.gate is None
        and attention.attn_dim == attention.qkv.in_features == attention.proj.out_features
    )


class PlainSite:
    """Attention site of one block with plain attention.

    Args:
        owner: the module that has it as `attn`: the block, or a branch of it.
    """

    def __init__(self, model: nn.Module, block: nn.Module, owner: nn.Module | None = None) -> None:
        self.block = block
        self._owner = block if owner is None else owner
        self._model = model

    @property
    def weight(self) -> torch.Tensor:
        return self.host.qkv.weight

    @property
    def host(self) -> Attention:
        """The host's own attention."""
        assert isinstance(self._owner.attn, Attention)
        return self._owner.attn

    @property
    def slot(self) -> Slot:
        host = self.host
        return Slot(
            dim=host.qkv.in_features,
            num_heads=host.num_heads,
            grid_size=fixed_grid(self._model),
            num_prefix_tokens=int(getattr(self._model, "num_prefix_tokens", 0)),
            qkv_bias=host.qkv.bias is not None,
            proj_bias=host.proj.bias is not None,
            attn_drop=host.attn_drop.p,
            proj_drop=host.proj_drop.p,
        )

    def why_not(self, name: str) -> str | None:
        return NO_GRID if ATTENTION[name].needs_grid and fixed_grid(self._model) is None else None

    def replaces(self, name: str) -> list[str]:
        return []

    def put(self, name: str, options: Mapping[str, Any]) -> None:
        self._owner.attn = self.with_hosts_linears(make_mechanism(name, self.slot, options, self.host.qkv))

    def with_hosts_linears(self, attention: TokenAttention) -> TokenAttention:
        """`attention` with the host's linear layers. One that computes only V gets a copy of the rows for V."""
        host = self.host
        if attention.qkv.out_features == host.qkv.out_features:
            attention.qkv = host.qkv
        else:
            values = host.qkv.in_features
            assert attention.qkv.out_features == values
            with torch.no_grad():
                attention.qkv.weight.copy_(host.qkv.weight[-values:])
                if attention.qkv.bias is not None:
                    attention.qkv.bias.copy_(host.qkv.bias[-values:])
        if isinstance(attention.proj, nn.Linear):
            attention.proj = host.proj
        return attention
