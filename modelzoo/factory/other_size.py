"""A trained model at another input size, and the evaluation crop that timm states for a model.

Separate from `build.py` because no weights are made: those of the training are kept, and only what depends on the size
of the input (tables of positions, windows) is resampled, by timm's own `set_input_size`.
"""

from __future__ import annotations

import copy
from typing import Any

import timm
import torch
from timm.layers.patch_embed import PatchEmbed
from torch import nn

from modelzoo.factory.build import build_model, resolve_img_size
from modelzoo.factory.timm_models import check_model_name
from modelzoo.factory.vit import patch_problems
from search_space.parsing.errors import Problem, SpecError, reason_of
from search_space.schema.trial import ArchSpec

__all__ = ["at_size", "evaluation_crop", "evaluation_interpolation", "model_at_size", "published_normalisation"]

_FAILURES = (AssertionError, AttributeError, IndexError, RuntimeError, TypeError, ValueError)


def evaluation_crop(arch: ArchSpec) -> tuple[float, str]:
    """timm's (crop_pct, crop_mode) of a model, those of its published evaluation.

    Raises:
        SpecError: none are known.
    """
    if arch.model != "vit":
        check_model_name(arch.model)
    cfg = None if arch.model == "vit" else timm.get_pretrained_cfg(arch.model)
    if cfg is None:
        text = f"timm states no evaluation crop of {arch.model!r}"
        raise SpecError(Problem(text, path="task.crop_pct", hint="write a number, for example 0.875"))
    return float(cfg.crop_pct), str(cfg.crop_mode)


def evaluation_interpolation(arch: ArchSpec) -> str:
    """timm's interpolation of a model's published evaluation.

    Raises:
        SpecError: none is known.
    """
    cfg = None if arch.model == "vit" else timm.get_pretrained_cfg(arch.model)
    if cfg is None or not cfg.interpolation:
        text = f"timm states no interpolation of {arch.model!r}"
        raise SpecError(Problem(text, path="task.interpolation", hint="write bilinear or bicubic"))
    return str(cfg.interpolation)


def published_normalisation(arch: ArchSpec, name: str) -> tuple[float, ...]:
    """timm's `mean` or `std` of a model, those of its published weights.

    Raises:
        SpecError: none are known.
    """
    check_model_name(arch.model)
    cfg = timm.get_pretrained_cfg(arch.model)
    if cfg is None:
        text = f"timm states no {name} of {arch.model!r}"
        raise SpecError(Problem(text, path=f"train.{name}", hint="write numbers, or leave it out for the dataset's"))
    return tuple(getattr(cfg, name))


def at_size(model: nn.Module, size: tuple[int, int]) -> nn.Module:
    """The model for images of this (height, width): itself where it takes any size, else a copy with other positions.

    A model that has timm's `set_input_size` checks the size of its images.
    """
    resize: Any = getattr(model, "set_input_size", None)
    if resize is None:
        return model
    other: Any = copy.deepcopy(model)
    other.set_input_size(img_size=size)
    return other


def model_at_size(
    arch: ArchSpec, size: tuple[int, int], *, img_size: int | tuple[int, int] | None, in_chans: int, num_classes: int
) -> nn.Module:
    """The model on torch's meta device, built for its own input size and then evaluated at `size`.

    Raises:
        SpecError: it cannot be built, or takes images of its own size only.
    """
    with torch.device("meta"):
        model = build_model(arch, img_size=img_size, in_chans=in_chans, num_classes=num_classes).eval()
        own = resolve_img_size(arch, img_size)
        reason = ""
        if own[0] * own[1] == size[0] * size[1]:  # grids are known by their number of tokens alone
            reason = _bound_to_its_grid(arch)
        reason = reason or _cut_off(model, size)
        try:
            other = at_size(model, size)
            with torch.no_grad():
                logits = other(torch.empty(1, in_chans, *size))
            assert tuple(logits.shape) == (1, num_classes), f"it gives {tuple(logits.shape)} for one image"
        except _FAILURES as err:
            reason = reason or reason_of(err)
            other = model
    if reason and size != own:
        shown, trained = ("x".join(map(str, each)) for each in (size, own))
        raise SpecError(
            Problem(
                f"{arch.model!r} is trained on images of {trained} and cannot be evaluated at {shown}: {reason}",
                path="task.test_img_size",
                hint="choose another test_img_size, or a model that takes several sizes (vit, deit, swin, pvt_v2, ...)",
            )
        )
    return other


def _bound_to_its_grid(arch: ArchSpec) -> str:
    """Why the mechanism sees other neighbours on another grid of as many patches; empty if it does not."""
    if arch.attention.name == "groupmix":
        return "its aggregators were made for the grid of the training images"
    form = getattr(arch.attention, "kernel_form", arch.options.get("kernel_form"))
    return "its kernels on maps were made for the grid of the training images" if form == "spatial" else ""


def _cut_off(model: nn.Module, size: tuple[int, int]) -> str:
    """Why patches do not tile images of this size, which timm would cut; empty if they do."""
    embed = getattr(model, "patch_embed", None)
    if not isinstance(embed, PatchEmbed) or embed.dynamic_img_pad:
        return ""
    problems = patch_problems(size, int(embed.patch_size[0]))
    return problems[0].message if problems else ""
