"""BERT: embeddings of tokens, positions and sentences, post-norm blocks, and a pooler on the first token.

    x = norm(token + position + sentence)
    x = norm(x + W attention(x));   x = norm(x + W2 gelu(W1 x))          in every block (norms after the sums)
    pooled = tanh(W x[0])

Paper:   BERT, Devlin et al. 2019, arXiv:1810.04805.
Source:  written from the paper; names of weights as in the released models, so that their state dicts load as they are.
Differs: attention maps may be refined (see `attention.py`).

Shapes:  B texts, N tokens, D dim. Input (B, 3, N) of integers: token ids; sentence of each token (0 or 1); 1 for real
         tokens and 0 for padding, which comes last.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.text.attention import BertSelfAttention

__all__ = ["BertBlock", "BertEncoder"]

_NORM_EPS = 1e-12
_NUM_SENTENCES = 2


class BertEmbeddings(nn.Module):
    """Sum of three learned embeddings, normalised."""

    def __init__(self, dim: int, *, vocabulary: int, max_length: int, drop: float) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, dim)
        self.position_embeddings = nn.Embedding(max_length, dim)
        self.token_type_embeddings = nn.Embedding(_NUM_SENTENCES, dim)
        self.LayerNorm = nn.LayerNorm(dim, eps=_NORM_EPS)
        self.dropout = nn.Dropout(drop)

    def forward(self, ids_BN: Tensor, sentences_BN: Tensor) -> Tensor:
        positions_N = torch.arange(ids_BN.shape[1], device=ids_BN.device)
        x_BND = self.word_embeddings(ids_BN) + self.token_type_embeddings(sentences_BN)
        return self.dropout(self.LayerNorm(x_BND + self.position_embeddings(positions_N)))


class BertOutput(nn.Module):
    """Projection, dropout, sum with the residual, norm."""

    def __init__(self, in_dim: int, dim: int, *, drop: float) -> None:
        super().__init__()
        self.dense = nn.Linear(in_dim, dim)
        self.LayerNorm = nn.LayerNorm(dim, eps=_NORM_EPS)
        self.dropout = nn.Dropout(drop)

    def forward(self, x_BND: Tensor, residual_BND: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(x_BND)) + residual_BND)


class BertAttention(nn.Module):
    """Self-attention with its output. `self` and `output` are the released names."""

    def __init__(self, dim: int, num_heads: int, *, attn_drop: float, drop: float) -> None:
        super().__init__()
        self.self = BertSelfAttention(dim, num_heads, attn_drop=attn_drop)
        self.output = BertOutput(dim, dim, drop=drop)

    def forward(self, x_BND: Tensor, keep_BN: Tensor) -> Tensor:
        return self.output(self.self(x_BND, keep_BN), x_BND)


class BertIntermediate(nn.Module):
    """First layer of the MLP."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, hidden)

    def forward(self, x_BND: Tensor) -> Tensor:
        return F.gelu(self.dense(x_BND))


class BertBlock(nn.Module):
    """Block of BERT, with the norms after the residual sums."""

    def __init__(self, dim: int, num_heads: int, *, hidden: int, attn_drop: float = 0.0, drop: float = 0.0) -> None:
        super().__init__()
        self.attention = BertAttention(dim, num_heads, attn_drop=attn_drop, drop=drop)
        self.intermediate = BertIntermediate(dim, hidden)
        self.output = BertOutput(hidden, dim, drop=drop)

    def forward(self, x_BND: Tensor, keep_BN: Tensor) -> Tensor:
        x_BND = self.attention(x_BND, keep_BN)
        return self.output(self.intermediate(x_BND), x_BND)


class BertLayers(nn.Module):
    """The blocks, under their released name."""

    def __init__(self, blocks: list[BertBlock]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(blocks)

    def forward(self, x_BND: Tensor, keep_BN: Tensor) -> Tensor:
        for block in self.layer:
            x_BND = block(x_BND, keep_BN)
        return x_BND


class BertPooler(nn.Module):
    """tanh of a linear layer on the first token."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, dim)

    def forward(self, x_BND: Tensor) -> Tensor:
        return self.dense(x_BND[:, 0]).tanh()


class BertEncoder(nn.Module):
    """BERT without a head: (B, 3, N) -> pooled (B, D). At most `max_length` tokens."""

    def __init__(
        self,
        *,
        depth: int,
        dim: int,
        num_heads: int,
        hidden: int,
        vocabulary: int,
        max_length: int,
        attn_drop: float = 0.0,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.embeddings = BertEmbeddings(dim, vocabulary=vocabulary, max_length=max_length, drop=drop)
        options = {"hidden": hidden, "attn_drop": attn_drop, "drop": drop}
        self.encoder = BertLayers([BertBlock(dim, num_heads, **options) for _ in range(depth)])
        self.pooler = BertPooler(dim)
        self.apply(_initialise)

    @property
    def blocks(self) -> list[BertBlock]:
        return list(self.encoder.layer)  # pyright: ignore[reportReturnType]

    def forward(self, text_B3N: Tensor) -> Tensor:
        ids_BN, sentences_BN, kept_BN = text_B3N.unbind(1)
        return self.pooler(self.encoder(self.embeddings(ids_BN, sentences_BN), kept_BN.bool()))


def _initialise(module: nn.Module) -> None:
    """BERT's own: normal with a standard deviation of 0.02, biases 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
