"""Stacked `VisionTransformer` of timm: embedding, blocks, pooling and head.

Shapes:  K members, B images, N tokens (P prefix tokens first), D dim.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers.attention_pool import AttentionPoolLatent
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from modelzoo.stacked.dropout import StackedDropout
from modelzoo.stacked.layer import Building, StackedLayer
from modelzoo.stacked.mechanisms.attention import plain_attention

__all__ = ["StackedAttentionPool", "StackedVisionTransformer"]

_POOLS = ("avg", "avgmax", "map", "max", "token")


class StackedVisionTransformer(StackedLayer):
    """timm's `VisionTransformer`: images (K, B, C, H, W) -> logits (K, B, classes)."""

    may_lack = ("cls_token", "reg_token", "pos_embed", "attn_pool")
    cls_token: Tensor | None
    reg_token: Tensor | None
    pos_embed: Tensor | None
    patch_embed: StackedLayer
    pos_drop: StackedDropout
    patch_drop: StackedLayer
    norm_pre: StackedLayer
    blocks: StackedLayer
    norm: StackedLayer
    attn_pool: StackedLayer | None
    fc_norm: StackedLayer
    head_drop: StackedLayer
    head: StackedLayer

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, VisionTransformer)
        self._pool, self._num_prefix = first.global_pool, first.num_prefix_tokens
        self._positions_of_patches, self._pools_prefix = first.no_embed_class, first.pool_include_prefix
        # A single model adds positions to what its convolution returns, which holds a channel of all patches together.
        self._channels_first = not first.num_prefix_tokens and isinstance(first.patch_embed.norm, nn.Identity)

    @staticmethod
    def reason(layer: nn.Module) -> str | None:
        assert isinstance(layer, VisionTransformer)
        if layer.dynamic_img_size:
            return "takes images of any size (dynamic_img_size)"
        if layer.grad_checkpointing:
            return "computes blocks twice to save memory (gradient checkpointing)"
        return None if layer.global_pool in _POOLS else f"pools its tokens by {layer.global_pool!r}"

    def forward(self, x_KBCHW: Tensor) -> Tensor:
        x_KBND = self.norm_pre(self.patch_drop(self._embedded(self.patch_embed(x_KBCHW))))
        x_KBND = self.norm(self.blocks(x_KBND))
        return self.head(self.head_drop(self.fc_norm(self._pooled(x_KBND))))

    def _embedded(self, x_KBND: Tensor) -> Tensor:
        tokens = [each for each in (self.cls_token, self.reg_token) if each is not None]
        prefix = [each.expand(-1, x_KBND.shape[1], -1, -1) for each in tokens]
        if self.pos_embed is None:  # and no dropout, as in timm
            return torch.cat([*prefix, x_KBND], dim=2) if prefix else x_KBND
        if self._positions_of_patches:
            x_KBND = x_KBND + self.pos_embed
        if prefix:
            x_KBND = torch.cat([*prefix, x_KBND], dim=2)
        if not self._positions_of_patches:
            x_KBND = x_KBND + self.pos_embed
        return self.pos_drop.of_transposed(x_KBND) if self._channels_first else self.pos_drop(x_KBND)

    def _pooled(self, x_KBND: Tensor) -> Tensor:
        if self._pool == "token":
            return x_KBND[:, :, 0]
        if not self._pools_prefix:
            x_KBND = x_KBND[:, :, self._num_prefix :]
        if self.attn_pool is not None:
            return self.attn_pool(x_KBND)
        if self._pool == "avg":
            return x_KBND.mean(dim=2)
        most = x_KBND.amax(dim=2)
        return most if self._pool == "max" else 0.5 * (most + x_KBND.mean(dim=2))


class StackedAttentionPool(StackedLayer):
    """timm's `AttentionPoolLatent`: tokens (K, B, N, D) -> (K, B, D)."""

    may_lack = ("pos_embed", "mlp")
    pos_embed: Tensor | None
    latent: Tensor
    q: StackedLayer
    kv: StackedLayer
    q_norm: StackedLayer
    k_norm: StackedLayer
    proj: StackedLayer
    proj_drop: StackedLayer
    norm: StackedLayer
    mlp: StackedLayer | None

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, AttentionPoolLatent)
        self._num_heads, self._head_dim, self._pool = first.num_heads, first.head_dim, first.pool

    @staticmethod
    def reason(layer: nn.Module) -> str | None:
        assert isinstance(layer, AttentionPoolLatent)
        return None if layer.pos_embed is None else "pools its tokens with positions"

    def forward(self, x_KBND: Tensor) -> Tensor:
        q_KBLD = self.q(self.latent.expand(-1, x_KBND.shape[1], -1, -1))
        k_KBND, v_KBND = self.kv(x_KBND).chunk(2, dim=-1)
        q, k = (
            norm(each.unflatten(-1, (-1, self._head_dim))).flatten(-2)
            for norm, each in ((self.q_norm, q_KBLD), (self.k_norm, k_KBND))
        )
        out_KBLD = self.proj_drop(self.proj(plain_attention(q, k, v_KBND, self._num_heads)))
        if self.mlp is not None:
            out_KBLD = out_KBLD + self.mlp(self.norm(out_KBLD))
        return out_KBLD[:, :, 0] if self._pool == "token" else out_KBLD.mean(dim=2)
