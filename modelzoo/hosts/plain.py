"""Plain vision transformers as hosts: timm's `VisionTransformer`, whose blocks call `attn(x)` with all tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from modelzoo.attention import Slot, TokenAttention
from modelzoo.hosts.site import AttentionSite, make_mechanism

__all__ = ["PlainSite", "plain_sites"]


def plain_sites(model: VisionTransformer) -> list[AttentionSite]:
    """Attention sites of a plain vision transformer: one per block."""
    return [PlainSite(model, block) for block in model.blocks]


class PlainSite:
    """Attention site of one block of a `VisionTransformer`."""

    def __init__(self, model: VisionTransformer, block: nn.Module) -> None:
        self.block = block
        self._model = model

    @property
    def weight(self) -> torch.Tensor:
        return self.host.qkv.weight

    @property
    def host(self) -> Attention:
        """The host's own attention; only if `why_not` returns None."""
        assert isinstance(self.block.attn, Attention)
        return self.block.attn

    @property
    def slot(self) -> Slot:
        host = self.host
        return Slot(
            dim=host.qkv.in_features,
            num_heads=host.num_heads,
            grid_size=self._model.patch_embed.grid_size,
            num_prefix_tokens=self._model.num_prefix_tokens,
            qkv_bias=host.qkv.bias is not None,
            proj_bias=host.proj.bias is not None,
            attn_drop=host.attn_drop.p,
            proj_drop=host.proj_drop.p,
        )

    def why_not(self, name: str) -> str | None:
        """Reason against a swap: every mechanism can replace timm's plain attention, but no other attention."""
        host = getattr(self.block, "attn", None)
        if host is None:
            return f"has blocks of kind {type(self.block).__name__}, without one attention of their own"
        # Exactly this class: a subclass computes a different function.
        if type(host) is not Attention:
            return f"uses {type(host).__module__}.{type(host).__qualname__}"
        extras = {
            "qk_norm": not isinstance(host.q_norm, nn.Identity),
            "scale_attn_norm": not isinstance(host.norm, nn.Identity),
            "gated": host.gate is not None,
            "attn_head_dim": host.attn_dim != host.qkv.in_features,
            "dim_out": host.proj.out_features != host.qkv.in_features,
        }
        present = [name for name, is_there in extras.items() if is_there]
        return f"has attention with {', '.join(present)}" if present else None

    def put(self, name: str, options: Mapping[str, Any]) -> None:
        self.block.attn = self.with_hosts_linears(make_mechanism(name, self.slot, options, self.host.qkv))

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
