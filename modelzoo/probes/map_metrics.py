"""Metrics of attention maps: similarity between blocks (attention collapse) and between heads, entropy, distance.

Paper:   similarity: DeepViT: Towards Deeper Vision Transformer, Zhou et al. 2021, arXiv:2103.11886, equation 2 and
         figure 3; distance: An Image is Worth 16x16 Words, Dosovitskiy et al. 2021, arXiv:2010.11929, figure 7.
Source:  written from the papers; DeepViT's released code does not contain these metrics.
Differs: two countings of similar blocks. `similar_block_count` is the paper's (its appendix: a column is alike above a
         cosine of 0.5, a block similar if more than 80 % of its columns are alike to those of the adjacent block, here
         the previous one; its tables print the number of these blocks). `similar_blocks` was ours before that text
         could be read; both limits are parameters, and it is a share of the pairs. Distances: prefix tokens have no
         position, so their rows and columns are omitted and the remaining rows renormalised.

Shapes:  L blocks, B images (times windows), H heads, N queries (rows), T or K keys (columns).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from modelzoo.probes.positions import Positions

__all__ = [
    "ALIKE",
    "ALIKE_SHARE",
    "attention_distance",
    "attention_entropy",
    "cross_layer_similarity",
    "head_similarity",
    "similar_block_count",
    "similar_blocks",
    "similar_share",
]

ALIKE, ALIKE_SHARE = 0.5, 0.8
"""From DeepViT's appendix: the cosine above which columns are alike, and their share above which a block is similar."""


def cross_layer_similarity(maps_BHNT: Sequence[Tensor]) -> Tensor:
    """Similarity M (L, L, B, H, T): the cosine of column t, the weights of key t for all queries, between two blocks
    (equation 2).

    1 means that token t has the same role in both blocks. The similarity of a column of zeros is 0.
    """
    unit_LBHNT = torch.stack([_unit_columns(one) for one in maps_BHNT])
    return torch.einsum("pbhnt,qbhnt->pqbht", unit_LBHNT, unit_LBHNT)


def similar_share(similarity_LLBHT: Tensor, *, threshold: float = 0.9) -> Tensor:
    """Share (L, L) of two blocks' columns, over images, heads and tokens, whose cosine exceeds `threshold`."""
    return (similarity_LLBHT > threshold).to(similarity_LLBHT.dtype).mean(dim=(2, 3, 4))


def similar_blocks(similarity_LLBHT: Tensor, *, threshold: float = 0.9, share: float = 0.9) -> Tensor:
    """Share of the blocks, from the second on, that are similar to the previous block.

    Args:
        threshold: Cosine above which a column counts as similar.
        share: A block is similar if more than this share of its columns is.
    """
    shares_LL = similar_share(similarity_LLBHT, threshold=threshold)
    return (shares_LL.diagonal(offset=1) > share).to(shares_LL.dtype).mean()


def similar_block_count(similarity_LLBHT: Tensor, *, threshold: float = ALIKE, share: float = ALIKE_SHARE) -> Tensor:
    """Number of blocks that are similar to the previous one, by the paper's definition of both limits."""
    shares_LL = similar_share(similarity_LLBHT, threshold=threshold)
    return (shares_LL.diagonal(offset=1) > share).sum()


def head_similarity(map_BHNT: Tensor) -> Tensor:
    """Cosine (H, H) of the same columns of two heads of a block, mean over images and tokens."""
    unit_BHNT = _unit_columns(map_BHNT)
    return torch.einsum("bgnt,bhnt->ghbt", unit_BHNT, unit_BHNT).mean(dim=(2, 3))


def _unit_columns(map_BHNT: Tensor) -> Tensor:
    return F.normalize(map_BHNT.double(), dim=-2, eps=torch.finfo(torch.float64).tiny)


def attention_entropy(softmax_BHNK: Tensor) -> Tensor:
    """Entropy (B, H) of the rows in nats, mean over the queries; log K for a head with uniform attention."""
    return torch.special.entr(softmax_BHNK.double()).sum(dim=-1).mean(dim=-1)


def attention_distance(softmax_BHNK: Tensor, positions: Positions) -> Tensor:
    """Attention distance (B, H): attention-weighted distance from a query to the keys, mean over the queries.

    The unit is the side of a query's cell: a patch in a plain ViT, a token of the same stage in a pyramid.
    """
    num_prefix = positions.num_prefix
    between_BHNK = softmax_BHNK.double()[:, :, num_prefix:, num_prefix:]
    distances_NK = positions.distances().to(between_BHNK.device)
    total_BHN = between_BHNK.sum(dim=-1)
    far_BHN = (between_BHNK * distances_NK).sum(dim=-1)
    return (far_BHN / total_BHN.clamp_min(torch.finfo(torch.float64).tiny)).mean(dim=-1)
