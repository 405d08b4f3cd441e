"""Image sizes that a backbone takes: found by feature maps on the meta device, not from a list of models.

A model is built for one canvas. Some take any other size by themselves, some with `dynamic_img_size` (positions are
interpolated; windows are padded and masked), and some never do. The option changes no weight, and no result at the
canvas.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from modelzoo.dense.levels import check_maps, check_pyramid, chosen_levels, default_levels, is_isotropic
from modelzoo.factory.build import build_model
from search_space.parsing.errors import Problem, SpecError, reason_of
from search_space.schema.trial import ArchSpec

__all__ = ["FAILURES", "Features", "intermediate_maps", "measured_features", "on_meta", "variants_by_size_options"]

LOOSE: dict[str, bool] = {"dynamic_img_size": True}
SIZE_OPTIONS = {"dynamic_img_size", "strict_img_size"}  # a sweep that writes one of them means it
# What a model raises for an image of a size that it does not take.
FAILURES = (AssertionError, AttributeError, IndexError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Features:
    """Feature maps of a model.

    Args:
        levels: Indices of the maps among the model's.
        options: Constructor arguments with which it takes further image sizes.
        multiple_of: Sides of images are multiples of this; None: only the canvas is legal.
    """

    levels: tuple[int, ...]
    channels: tuple[int, ...]
    reductions: tuple[int, ...]
    options: tuple[tuple[str, bool], ...]
    multiple_of: int | None


def measured_features(
    arch: ArchSpec, *, canvas: tuple[int, int], in_chans: int, out_indices: tuple[int, ...] | None
) -> Features:
    """Feature maps of an architecture that is built for this canvas; results are cached.

    Raises:
        SpecError: the architecture cannot be built, has no feature maps, or they are no pyramid.
    """
    return _measure(arch.model_dump_json(), canvas, in_chans, out_indices)


def intermediate_maps(model: Any, images: torch.Tensor, levels: tuple[int, ...]) -> list[torch.Tensor]:
    """Feature maps (B, C, H, W), before the model's final norm."""
    return model.forward_intermediates(images, indices=list(levels), output_fmt="NCHW", intermediates_only=True)


@functools.lru_cache(maxsize=1024)
def _measure(arch_json: str, canvas: tuple[int, int], in_chans: int, out_indices: tuple[int, ...] | None) -> Features:
    arch = ArchSpec.model_validate_json(arch_json)
    model = on_meta(arch, canvas=canvas, in_chans=in_chans)
    info = _feature_info(arch, model)
    every = [int(one["reduction"]) for one in info]
    levels = default_levels(arch.model, every) if out_indices is None else chosen_levels(arch.model, every, out_indices)
    channels, reductions = tuple(int(info[i]["num_chs"]) for i in levels), tuple(every[i] for i in levels)
    if not is_isotropic(reductions):
        check_pyramid(arch.model, reductions)
    try:
        maps = _maps_on_meta(model, canvas, in_chans, levels)
    except FAILURES as err:
        raise SpecError(_no_features(arch, f"{type(err).__name__}: {reason_of(err)}")) from err
    check_maps(arch.model, maps, channels, reductions, canvas)
    found = Features(levels, channels, reductions, (), None)
    for candidate, options in variants_by_size_options(arch, model, canvas=canvas, in_chans=in_chans):
        multiple = _multiple(arch, candidate, found, canvas, in_chans)
        if multiple is not None:
            return Features(levels, channels, reductions, tuple(options.items()), multiple)
    return found


def variants_by_size_options(
    arch: ArchSpec, model: nn.Module, *, canvas: tuple[int, int], in_chans: int
) -> Iterator[tuple[nn.Module, dict[str, bool]]]:
    """The model as it is, then with the options by which it may take further image sizes, where it has them; on meta.

    Each with those options, to be added to `arch.options`.
    """
    yield model, {}
    if SIZE_OPTIONS & set(arch.options):
        return
    loose = arch.model_copy(update={"options": {**arch.options, **LOOSE}})
    try:
        candidate = on_meta(loose, canvas=canvas, in_chans=in_chans)
    except SpecError:
        return  # no such argument, or the mechanism needs a fixed grid
    yield candidate, dict(LOOSE)


def on_meta(arch: ArchSpec, *, canvas: tuple[int, int], in_chans: int) -> nn.Module:
    """The model without classifier, in evaluation mode, with weights that are not allocated."""
    with torch.device("meta"):
        return build_model(arch, img_size=canvas, in_chans=in_chans, num_classes=0, seed=0).eval()


def _feature_info(arch: ArchSpec, model: nn.Module) -> list[Any]:
    """timm's description of the feature maps: channels and reduction of each."""
    info = getattr(model, "feature_info", None)
    info = getattr(info, "info", info)
    if not info or not hasattr(model, "forward_intermediates"):
        raise SpecError(_no_features(arch, "it has no feature_info or no forward_intermediates"))
    return list(info)


def _no_features(arch: ArchSpec, reason: str) -> Problem:
    return Problem(
        f"{arch.model!r} gives no feature maps: {reason}",
        path="arch.model",
        hint="use a model with feature maps, for example vit, swin_*, pvt_v2_* or one of the zoo's (docs/dense.md)",
    )


def _maps_on_meta(
    model: nn.Module, size: tuple[int, int], in_chans: int, levels: tuple[int, ...]
) -> list[torch.Tensor]:
    with torch.device("meta"), torch.no_grad():
        return intermediate_maps(model, torch.empty(1, in_chans, *size), levels)


def _multiple(arch: ArchSpec, model: nn.Module, found: Features, canvas: tuple[int, int], in_chans: int) -> int | None:
    """Smallest of 1, the finest and the coarsest reduction, by whose multiples the sides may differ from the canvas."""
    for multiple in sorted({1, found.reductions[0], found.reductions[-1]}):
        height, width = (-(-side // multiple) * multiple for side in canvas)
        other = (height + multiple, width + 2 * multiple)
        try:
            maps = _maps_on_meta(model, other, in_chans, found.levels)
            check_maps(arch.model, maps, found.channels, found.reductions, other)
        except FAILURES:  # SpecError is a ValueError
            continue
        return multiple
    return None
