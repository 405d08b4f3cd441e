"""Cosine regulariser: a penalty on similar attention maps of adjacent blocks, per entry along the head axis.

Paper:   DeepViT: Towards Deeper Vision Transformer, Zhou et al. 2021, arXiv:2103.11886.
Source:  written from a description of the released training code; loss and gradients are compared with a recorded step.
Differs: as released, not as in the paper's equation 2: the cosine is along the head axis. Ours: for a block that
         refines the previous block's map, the map that weights V is used. The released code uses the map that such a
         block passes on, which is the previous block's map itself, so that half of its pairs are always 1.

Shapes:  B images, H heads, N queries, K keys.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from modelzoo.factory.build import build_model, resolve_img_size
from modelzoo.probes.maps import record_maps
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.trial import ArchSpec

__all__ = ["check_cosine_regulariser", "cosine_penalty", "head_axis_similarity"]


def head_axis_similarity(one_BHNK: Tensor, other_BHNK: Tensor) -> Tensor:
    """Cosine (B, N, K) of the H numbers that two blocks have for each pair of tokens."""
    return F.cosine_similarity(one_BHNK, other_BHNK, dim=1)


def cosine_penalty(maps_BHNK: Sequence[Tensor], *, pairs: int) -> Tensor:
    """Mean similarity of the first `pairs` pairs of adjacent blocks, over images and pairs of tokens.

    Args:
        maps_BHNK: The maps that weight V, in the order of the blocks.

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
    similarities = [head_axis_similarity(*maps_BHNK[index : index + 2]) for index in range(pairs)]
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
