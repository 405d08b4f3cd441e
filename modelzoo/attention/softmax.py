"""Softmax attention, computed by torch's fused kernel: the baseline of every comparison.

Paper:   Attention Is All You Need, Vaswani et al. 2017, arXiv:1706.03762, section 3.2.
Source:  written from the paper; bit-equal to `timm.layers.Attention` with its fused path (see tests).
Differs: no query/key norm, output norm or gate; a model with one of these keeps its own attention.
Cost:    O(N^2 * D) multiply-accumulates per image; `forward` never stores the N x N map, `attend` does.

Shapes:  B images, N tokens, D dim, H heads, E head_dim (D = H * E).
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from modelzoo.attention.contract import Slot, TokenAttention, check_heads, softmax_map

__all__ = ["SoftmaxAttention"]


class SoftmaxAttention(TokenAttention):
    """Plain multi-head self-attention."""

    def __init__(self, slot: Slot) -> None:
        check_heads(slot)
        super().__init__(slot)

    def forward(
        self, x_BND: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        q_BHNE, k_BHNE, v_BHNE = self.heads_of(self.qkv(x_BND))
        out_BHNE = F.scaled_dot_product_attention(
            q_BHNE,
            k_BHNE,
            v_BHNE,
            attn_mask=attn_mask,
            dropout_p=self.attn_drop.p if self.training else 0.0,
            is_causal=is_causal,
        )
        return self.merge(out_BHNE)

    def attend(
        self, x_BND: torch.Tensor, incoming_BHNN: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        q_BHNE, k_BHNE, v_BHNE = self.heads_of(self.qkv(x_BND))
        with self.in_map_precision(q_BHNE) as wide:  # the next block may transform this map
            attn_BHNN = self.attn_drop(softmax_map(wide(q_BHNE), wide(k_BHNE), q_BHNE.shape[-1] ** -0.5))
        return self.merge(self.weigh(attn_BHNN, v_BHNE)), attn_BHNN
