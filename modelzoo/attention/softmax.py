"""Softmax attention, computed by torch's fused kernel: the baseline of every comparison.

Paper:   Attention Is All You Need, Vaswani et al. 2017, arXiv:1706.03762, section 3.2. Temperature: DeepViT: Towards
         Deeper Vision Transformer, Zhou et al. 2021, arXiv:2103.11886, equation 4.
Source:  written from the papers; without a temperature bit-equal to `timm.layers.Attention` with its fused path (see
         tests).
Differs: no query/key norm, output norm or gate; a model with one of these keeps its own attention. DeepViT does not
         say how a learnable temperature is kept positive; here its logarithm is the parameter.
Cost:    O(N^2 * D) multiply-accumulates per image; `forward` never stores the N x N map, `attend` does.

Shapes:  B images, N tokens, D dim, H heads, E head_dim (D = H * E).
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from modelzoo.attention.contract import Slot, TokenAttention, check_heads, softmax_map

__all__ = ["SoftmaxAttention", "TemperedAttention"]


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


class TemperedAttention(SoftmaxAttention):
    """softmax(q k^T / (tau sqrt(E))) v with one temperature tau for all heads.

    Args:
        temperature: tau; above 1 the map is flatter than without it, below 1 sharper.
        learnable: Whether tau is trained, as exp(`log_temperature`), from `temperature` on.
    """

    def __init__(self, slot: Slot, *, temperature: float = 1.0, learnable: bool = False) -> None:
        super().__init__(slot)
        assert temperature > 0
        self.fixed_temperature = temperature
        self.log_temperature: nn.Parameter | None = None
        if learnable:
            # Without an axis: no weight decay, which would draw tau to 1, and no type of its own beside q.
            self.log_temperature = nn.Parameter(torch.full((), math.log(temperature), **slot.factory))

    @property
    def temperature(self) -> torch.Tensor | float:
        """tau."""
        return self.fixed_temperature if self.log_temperature is None else self.log_temperature.exp()

    def extra_repr(self) -> str:
        return "learnable" if self.log_temperature is not None else f"temperature={self.fixed_temperature:g}"

    def heads_of(self, qkv_BN3D: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """q / tau, k and v."""
        q_BHNE, k_BHNE, v_BHNE = super().heads_of(qkv_BN3D)
        return q_BHNE / self.temperature, k_BHNE, v_BHNE
