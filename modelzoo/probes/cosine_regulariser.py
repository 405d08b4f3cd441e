"""Cosine regulariser: a penalty on similar attention maps of adjacent blocks, from the first block on.

Paper:   DeepViT: Towards Deeper Vision Transformer, Zhou et al. 2021, arXiv:2103.11886.
Source:  written from a description of the released training code; loss and gradients are compared with a recorded step.
Differs: `along="heads"`, as released, compares for every pair of tokens the H numbers of its heads. `along="queries"`,
         after the paper's equations 2 and 6, compares columns: the weights of a key for all queries, per head. The
         paper prints the similarity of two maps as the share of columns whose cosine exceeds 0.5 (equation 7), which
         has no gradient; here it is the mean cosine. It prints a sum over pairs, we divide by their number as
         released: its weight, which is not stated, is ours divided by `pairs`. Its sum runs from 0 to B, the number
         of bottom blocks (4, 8, 12 of 16, 24, 32); the released configuration of 32 blocks has 12 pairs. The
         main text claims no further regularisation, the appendix adds this one to all trainings.
         Ours: for a block that refines the previous block's map, the map that weights V is used. The released code
         uses the map that such a block passes on, which is the previous block's map itself, so that half of its pairs
         are always 1.

Shapes:  B images, H heads, N queries, K keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from modelzoo.factory.build import build_model, resolve_img_size
from modelzoo.probes.maps import record_maps
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.trial import ArchSpec

__all__ = ["check_cosine_regulariser", "column_similarity", "cosine_penalty", "head_axis_similarity"]


def head_axis_similarity(one_BHNK: Tensor, other_BHNK: Tensor) -> Tensor:
    """Cosine (B, N, K) of the H numbers that two blocks have for each pair of tokens."""
    return F.cosine_similarity(one_BHNK, other_BHNK, dim=1)


def column_similarity(one_BHNK: Tensor, other_BHNK: Tensor) -> Tensor:
    """Cosine (B, H, K) of the weights that two blocks have for each key, over the queries."""
    return F.cosine_similarity(one_BHNK, other_BHNK, dim=2)


def cosine_penalty(maps_BHNK: Sequence[Tensor], *, pairs: int, along: Literal["heads", "queries"] = "heads") -> Tensor:
    """Mean similarity of the first `pairs` pairs of adjacent blocks, over images and either pairs of tokens or columns.

    Args:
        maps_BHNK: The maps that weight V, in the order of the blocks.
        along: What the compared vectors run over: the heads of a pair of tokens, or the queries of a head's key.

    Raises:
        SpecError: fewer than `pairs` pairs, or adjacent maps of different shapes.
    """
    path = "train.cosine_regulariser.pairs"
    if len(maps_BHNK) <= pairs:
        raise SpecError(
            Problem(
                f"{pairs} pairs of adjacent blocks need {pairs + 1} attention maps, "
                f"but the model forms {len(maps_BHNK)}",
                path=path,
                hint=f"choose pairs of at most {len(maps_BHNK) - 1}"
                if len(maps_BHNK) > 1
                else "choose attention that forms maps over all tokens, such as softmax or reattention",
            )
        )
    shapes = [tuple(one.shape[1:]) for one in maps_BHNK[: pairs + 1]]
    odd = next((index for index in range(pairs) if shapes[index] != shapes[index + 1]), None)
    if odd is not None:
        raise SpecError(
            Problem(
                f"the maps of blocks {odd} and {odd + 1} cannot be compared: {shapes[odd]} and {shapes[odd + 1]} "
                "(heads, queries, keys)",
                path=path,
                hint=f"choose pairs of at most {odd}" if odd else "choose a model whose blocks have the same tokens",
            )
        )
    similarity = head_axis_similarity if along == "heads" else column_similarity
    similarities = [similarity(*maps_BHNK[index : index + 2]) for index in range(pairs)]
    return torch.stack([one.mean() for one in similarities]).sum() / pairs


def check_cosine_regulariser(
    arch: ArchSpec, *, pairs: int, img_size: int | tuple[int, int] | None, in_chans: int, num_classes: int
) -> None:
    """Check on the meta device, before training, that a model has enough comparable attention maps.

    Raises:
        SpecError: the architecture cannot be built, or the penalty is undefined for its maps.
    """
    with torch.device("meta"), torch.no_grad():
        model = build_model(arch, img_size=img_size, in_chans=in_chans, num_classes=num_classes).eval()
        with record_maps(model, replace_fused=True) as maps:
            model(torch.empty(1, in_chans, *resolve_img_size(arch, img_size)))
        cosine_penalty([one.weights for one in maps if one.weights is not None], pairs=pairs)
