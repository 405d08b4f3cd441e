"""How alike attention maps are: between blocks (attention collapse), and between the heads of one block.

Paper:   DeepViT: Towards Deeper Vision Transformer, Zhou et al. 2021, arXiv:2103.11886, equation 2 and figure 3.
Source:  written from the paper; the released code has no such measure.
Differs: the paper does not say from which cosine on a token's column counts as similar, nor with which blocks a block
         is compared for its share; both are parameters here, with defaults that are ours.

Shapes:  L blocks, B images, H heads, N queries (rows), T keys (columns).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["cross_layer_similarity", "head_similarity", "similar_blocks", "similar_share"]


def cross_layer_similarity(maps_BHNT: Sequence[Tensor]) -> Tensor:
    """M (L, L, B, H, T): the cosine of column t, what token t gives to all queries, between two blocks (equation 2).

    1 means that token t plays the same part in both blocks. A column of zeros is similar to nothing.
    """
    unit_LBHNT = torch.stack([_unit_columns(one) for one in maps_BHNT])
    return torch.einsum("pbhnt,qbhnt->pqbht", unit_LBHNT, unit_LBHNT)


def similar_share(similarity_LLBHT: Tensor, *, threshold: float = 0.9) -> Tensor:
    """(L, L): share of two blocks' columns, over images, heads and tokens, whose cosine exceeds `threshold`."""
    return (similarity_LLBHT > threshold).to(similarity_LLBHT.dtype).mean(dim=(2, 3, 4))


def similar_blocks(similarity_LLBHT: Tensor, *, threshold: float = 0.9, share: float = 0.9) -> Tensor:
    """Share of the blocks, from the second on, that are similar to the block right before them.

    Args:
        threshold: cosine above which a column counts as similar.
        share: a block is similar if more than this share of its columns is.
    """
    shares_LL = similar_share(similarity_LLBHT, threshold=threshold)
    return (shares_LL.diagonal(offset=1) > share).to(shares_LL.dtype).mean()


def head_similarity(map_BHNT: Tensor) -> Tensor:
    """(H, H): the cosine of equal columns of two heads of one block, mean over images and tokens."""
    unit_BHNT = _unit_columns(map_BHNT)
    return torch.einsum("bgnt,bhnt->ghbt", unit_BHNT, unit_BHNT).mean(dim=(2, 3))


def _unit_columns(map_BHNT: Tensor) -> Tensor:
    return F.normalize(map_BHNT.double(), dim=-2, eps=torch.finfo(torch.float64).tiny)
