"""Levels of a pyramid: which feature maps of a model are used, and whether they are a pyramid.

A pyramid halves its maps from level to level, so reductions (side of the image / side of the map) are consecutive
powers of two: heads and detectors place strides, anchors and upsampling by them. A model whose maps all have one
reduction is isotropic: it has one level, from which a simple feature pyramid can be built.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor

from search_space.parsing.errors import Problem, SpecError

__all__ = ["check_maps", "check_pyramid", "chosen_levels", "default_levels", "is_isotropic"]

FINEST = 4  # Swin, PVT and ResNet pyramids of published heads begin here; a stem's map of reduction 2 is not used.


def is_isotropic(reductions: Sequence[int]) -> bool:
    """Whether all maps have one size: `is_isotropic([16, 16]) is True`."""
    return len(set(reductions)) == 1


def default_levels(model: str, reductions: Sequence[int]) -> tuple[int, ...]:
    """Indices of the last map of every reduction from 4 on; of an isotropic model, the last map.

    `default_levels("resnet18", [2, 4, 8, 16, 32]) == (1, 2, 3, 4)`.

    Raises:
        SpecError: the reductions are not those of a pyramid.
    """
    if is_isotropic(reductions):
        return (len(reductions) - 1,)
    last = {reduction: index for index, reduction in enumerate(reductions) if reduction >= FINEST}
    check_pyramid(model, list(last))
    return tuple(last.values())


def chosen_levels(model: str, reductions: Sequence[int], out_indices: Sequence[int]) -> tuple[int, ...]:
    """Indices counted from 0; negative ones count from the end, as in timm.

    Raises:
        SpecError: indices that the model does not have, that are not ascending, or whose maps are no pyramid.
    """
    count = len(reductions)
    levels = tuple(index + count if index < 0 else index for index in out_indices)
    is_ascending = all(one < following for one, following in itertools.pairwise(levels))
    if not levels or not is_ascending or levels[0] < 0 or levels[-1] >= count:
        raise SpecError(
            Problem(
                f"out_indices of {model!r} must be ascending indices of its {count} feature maps, "
                f"but got {list(out_indices)}",
                hint=f"legal: 0 to {count - 1}, or negative ones from the end; reductions: {list(reductions)}",
            )
        )
    taken = [reductions[index] for index in levels]
    if not is_isotropic(taken):
        check_pyramid(model, taken)
    return levels


def check_pyramid(model: str, reductions: Sequence[int]) -> None:
    """Raise SpecError unless the reductions are consecutive powers of two."""
    first = reductions[0] if reductions else 0
    is_power = first > 0 and first & (first - 1) == 0
    if is_power and list(reductions) == [first << level for level in range(len(reductions))]:
        return
    raise SpecError(
        Problem(
            f"the feature maps of {model!r} are no pyramid: their sides are those of the image divided by "
            f"{list(reductions)}, but must be divided by consecutive powers of two",
            path="arch.model",
            hint="use a pyramid (swin_*, pvt_v2_*, groupmixformer_*, focal_*, regionvit_*, lg_transformer_*, coat_*) "
            "or a model whose maps all have one size (vit, vit_*, deepvit_*, refined_vit_*)",
        )
    )


def check_maps(
    model: str, maps: Sequence[Tensor], channels: Sequence[int], reductions: Sequence[int], size: tuple[int, int]
) -> None:
    """Raise SpecError unless the maps (B, C, H, W) of an image of this size are what the model states of them.

    Sides that no reduction divides may be rounded either way.
    """
    for level, (each, dim, reduction) in enumerate(zip(maps, channels, reductions, strict=True)):
        sides = tuple(each.shape[-2:])
        is_right = all(side // reduction <= got <= -(-side // reduction) for side, got in zip(size, sides, strict=True))
        if each.ndim == 4 and each.shape[1] == dim and is_right:
            continue
        height, width = size
        raise SpecError(
            Problem(
                f"the feature maps of {model!r} are no pyramid: of a {height}x{width} image, map {level} has the shape "
                f"{tuple(each.shape[1:])} instead of {(dim, height // reduction, width // reduction)}",
                path="arch.model",
                hint="a pyramid halves its maps exactly; use another model, for example swin_* or pvt_v2_*",
            )
        )
