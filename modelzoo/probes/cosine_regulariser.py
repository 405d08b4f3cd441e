"""The cosine regulariser: a price on neighbouring blocks whose maps are alike, entry by entry over the heads.

Paper:   DeepViT: Towards Deeper Vision Transformer, Zhou et al. 2021, arXiv:2103.11886.
Source:  written from a description of the released training code; loss and gradients are held to a recorded step.
Differs: as released, not as in the paper's equation 2: the cosine is along the head axis. Ours: for a block that
         refines a borrowed map we take the map that weighs V. The released code takes what such a block hands on, the
         borrowed map itself, so that half of its pairs are 1 whatever the weights.

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
    """(B, N, K): cosine of the H numbers that two blocks have for a pair of tokens."""
    return F.cosine_similarity(one_BHNK, other_BHNK, dim=1)


def cosine_penalty(maps_BHNK: Sequence[Tensor], *, pairs: int) -> Tensor:
    """Mean over images and pairs of tokens of the summed similarity of the first `pairs` neighbours, over `pairs`.

    Args:
        maps_BHNK: the maps that weigh V, block after block.

    Raises:
        SpecError: fewer neighbours than `pairs`, or neighbours whose maps have other shapes.
    """
    path = "train.cosine_regulariser.pairs"
    if len(maps_BHNK) <= pairs:
        raise SpecError(
            Problem(
                f"{pairs} pairs of neighbouring blocks need {pairs + 1} attention maps, "
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
                hint=f"choose pairs of at most {odd}" if odd else "choose a model whose blocks see the same tokens",
            )
        )
    similarities = [head_axis_similarity(*maps_BHNK[index : index + 2]) for index in range(pairs)]
    return torch.stack([one.mean() for one in similarities]).sum() / pairs


def check_cosine_regulariser(
    arch: ArchSpec, *, pairs: int, img_size: int | tuple[int, int] | None, in_chans: int, num_classes: int
) -> None:
    """Asks on the meta device, before anything trains, whether the model of `arch` has as many comparable maps.

    Raises:
        SpecError: the architecture cannot be built, or the penalty cannot be taken of its maps.
    """
    with torch.device("meta"), torch.no_grad():
        model = build_model(arch, img_size=img_size, in_chans=in_chans, num_classes=num_classes).eval()
        with record_maps(model, replace_fused=True) as maps:
            model(torch.empty(1, in_chans, *resolve_img_size(arch, img_size)))
        cosine_penalty([one.weights for one in maps if one.weights is not None], pairs=pairs)
