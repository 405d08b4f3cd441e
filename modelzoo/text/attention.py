"""Self-attention of BERT with a mask of padding, and the same with a mechanism on its maps.

    softmax      softmax(q k^T / sqrt(E) + mask) v             fused
    mechanism    transform(softmax(q k^T / sqrt(E) + mask), valid) v

The mask excludes padded keys. A mechanism that mixes maps is also given the entries of two real tokens, because its
norms and convolutions would make the others non-zero and move them into the rows and columns of real tokens.

Paper:   BERT, Devlin et al. 2019, arXiv:1810.04805; the mechanisms are those of `modelzoo/attention/`.
Source:  written from the paper; names of weights as in the released models. Parity with recorded layers is tested.

Shapes:  B texts, N tokens, D dim, H heads, E head_dim (D = H * E), M maps that weigh V.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.attention.contract import TokenAttention

__all__ = ["BertSelfAttention", "attend_to_real_tokens"]


class BertSelfAttention(nn.Module):
    """Self-attention before the output projection; `mechanism` is None for softmax attention."""

    def __init__(self, dim: int, num_heads: int, *, attn_drop: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(attn_drop)
        self.mechanism: TokenAttention | None = None

    def refine(self, mechanism: TokenAttention) -> None:
        """Put a mechanism on the maps; the linear layers stay."""
        assert mechanism.mixes_maps
        mechanism.drop_linears()
        self.mechanism = mechanism.train(self.training)

    def forward(self, x_BND: Tensor, keep_BN: Tensor) -> Tensor:
        """Mixed values (B, N, D) of all tokens; those of padding mean nothing.

        Args:
            keep_BN: bool, True for real tokens; every text has one.
        """
        if self.mechanism is None:
            q_BHNE, k_BHNE, v_BHNE = self._projected(x_BND)
            drop = self.dropout.p if self.training else 0.0
            mask_B11N = keep_BN[:, None, None, :]
            out_BHNE = F.scaled_dot_product_attention(q_BHNE, k_BHNE, v_BHNE, attn_mask=mask_B11N, dropout_p=drop)
            return out_BHNE.transpose(1, 2).flatten(2)
        with self.mechanism.in_query_precision(x_BND) as wide:
            q_BHNE, k_BHNE, v_BHNE = self._projected(wide(x_BND))
        with self.mechanism.in_map_precision(q_BHNE) as wide:
            attn_BHNN = self.dropout(attend_to_real_tokens(wide(q_BHNE), wide(k_BHNE), keep_BN))
            valid_B1NN = (keep_BN[:, None, :, None] & keep_BN[:, None, None, :]).to(attn_BHNN.dtype)
            attn_BMNN = self.mechanism.transform(attn_BHNN, valid_B1NN)
        return self.mechanism.weigh(attn_BMNN, v_BHNE).transpose(1, 2).flatten(2)

    def _projected(self, x_BND: Tensor) -> list[Tensor]:
        """q, k and v, each (B, H, N, E)."""
        layers = (self.query, self.key, self.value)
        return [layer(x_BND).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for layer in layers]


def attend_to_real_tokens(q_BHNE: Tensor, k_BHNE: Tensor, keep_BN: Tensor) -> Tensor:
    """Attention map (B, H, N, N) over the real keys; those of padding have weight 0."""
    logits = (q_BHNE * q_BHNE.shape[-1] ** -0.5) @ k_BHNE.transpose(-2, -1)
    return torch.softmax(logits.masked_fill(~keep_BN[:, None, None, :], -torch.inf), dim=-1)
