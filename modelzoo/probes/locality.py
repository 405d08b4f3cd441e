"""How far and how evenly a block attends: entropy of the softmax's rows, and mean attention distance.

Paper:   distance: An Image is Worth 16x16 Words, Dosovitskiy et al. 2021, arXiv:2010.11929, figure 7.
Source:  written from the definition there.
Differs: prefix tokens have no place: their rows and columns are left out, and the rest of a row is normalised anew.

Shapes:  B images (times windows), H heads, N queries, K keys.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modelzoo.probes.positions import Positions

__all__ = ["attention_distance", "attention_entropy"]


def attention_entropy(softmax_BHNK: Tensor) -> Tensor:
    """(B, H): entropy of the rows in nats, mean over the queries; log K for a head that attends to all keys alike."""
    return torch.special.entr(softmax_BHNK.double()).sum(dim=-1).mean(dim=-1)


def attention_distance(softmax_BHNK: Tensor, positions: Positions) -> Tensor:
    """(B, H): mean distance of a query to what it attends to, weighted by the attention, mean over the queries.

    The unit is the side of a query's cell: a patch for a plain ViT, a token of its own stage in a pyramid.
    """
    num_prefix = positions.num_prefix
    between_BHNK = softmax_BHNK.double()[:, :, num_prefix:, num_prefix:]
    distances_NK = positions.distances().to(between_BHNK.device)
    total_BHN = between_BHNK.sum(dim=-1)
    far_BHN = (between_BHNK * distances_NK).sum(dim=-1)
    return (far_BHN / total_BHN.clamp_min(torch.finfo(torch.float64).tiny)).mean(dim=-1)
