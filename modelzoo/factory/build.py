"""Model factory, ArchSpec -> nn.Module: builds the host with its own attention, then replaces the attention.

This order makes comparisons paired: at equal seed, all weights that two variants share are initially bit-equal.
"""

from __future__ import annotations

import inspect
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from modelzoo.factory.timm_models import NOT_VALUES, RESERVED, build_timm_model, check_model_name
from modelzoo.factory.vit import build_vit
from modelzoo.hosts.swap import swap_attention, swap_notes
from search_space.parsing.errors import Problem, SpecError, did_you_mean
from search_space.schema.trial import ArchSpec

__all__ = ["build_model", "notes_on_host", "resolve_img_size"]


def build_model(
    arch: ArchSpec,
    *,
    img_size: int | tuple[int, int] | None,
    in_chans: int,
    num_classes: int,
    seed: int | None = None,
) -> nn.Module:
    """Build a model in training mode, with freshly initialised weights on the current default device.

    Args:
        img_size: Size of the data's images; `resolve_img_size` defines when it is used.
        seed: Seed of the weights; torch's global generator is then unchanged. None draws from that generator.

    Raises:
        SpecError: the architecture cannot be built; the problems have their path below `arch`.
    """
    if seed is None:
        return _build(arch, img_size, in_chans, num_classes, seed=torch.initial_seed())
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return _build(arch, img_size, in_chans, num_classes, seed=seed)


def notes_on_host(
    arch: ArchSpec, *, img_size: int | tuple[int, int] | None, in_chans: int, num_classes: int
) -> list[str]:
    """What the mechanism takes the place of in its host, beside the attention map, and defaults that fit the host.

    Found on a host without weights; empty for `softmax`, and for a mechanism that leaves all of its host in place.

    Raises:
        SpecError: the architecture cannot be built.
    """
    if arch.attention.name == "softmax":
        return []
    with torch.device("meta"):
        host = _build_host(arch, img_size, in_chans, num_classes)
    return swap_notes(host, arch)


def resolve_img_size(arch: ArchSpec, img_size: int | tuple[int, int] | None) -> tuple[int, int]:
    """Image size (height, width) of a model.

    `arch.img_size` if given; else, for `vit`, the data's `img_size`; else the timm model's own.
    """
    if arch.img_size is not None:
        return _pair(arch.img_size)
    if arch.model != "vit":
        check_model_name(arch.model)
        cfg = timm.get_pretrained_cfg(arch.model)
        size = None if cfg is None else cfg.input_size
        if size is not None:
            return size[-2], size[-1]
    if img_size is None:
        raise SpecError(
            Problem(
                f"no image size: neither the data nor {arch.model!r} defines one",
                path="arch.img_size",
                hint="write arch.img_size: SIDE or [HEIGHT, WIDTH]",
            )
        )
    return _pair(img_size)


def _build(
    arch: ArchSpec, img_size: int | tuple[int, int] | None, in_chans: int, num_classes: int, *, seed: int
) -> nn.Module:
    model = _build_host(arch, img_size, in_chans, num_classes)
    swap_attention(model, arch, seed=seed)
    return model


def _build_host(arch: ArchSpec, img_size: int | tuple[int, int] | None, in_chans: int, num_classes: int) -> nn.Module:
    """The model with its own attention."""
    _check_options(arch)
    options: dict[str, Any] = dict(arch.options)
    if arch.model == "vit":
        size = resolve_img_size(arch, img_size)
        return build_vit(arch, img_size=size, in_chans=in_chans, num_classes=num_classes, options=options)
    asked = None if arch.img_size is None else _pair(arch.img_size)
    return build_timm_model(arch, img_size=asked, in_chans=in_chans, num_classes=num_classes, options=options)


def _check_options(arch: ArchSpec) -> None:
    problems = []
    for name in sorted(arch.options):
        path = f"arch.options.{name}"
        if name in ArchSpec.model_fields:
            problems.append(Problem(f"{name!r} is a field of arch", path=path, hint=f"write it as arch.{name}"))
        elif name in RESERVED:
            problems.append(
                Problem(
                    f"{name!r} cannot be set by a sweep",
                    path=path,
                    hint="archsweep takes channels and classes from the data and trains from fresh weights",
                )
            )
        elif arch.model == "vit" and name not in VIT_OPTIONS:
            problems.append(
                Problem(f"{name!r} is not an option of 'vit'", path=path, hint=did_you_mean(name, VIT_OPTIONS))
            )
    if problems:
        raise SpecError(problems)


def _vit_options() -> tuple[str, ...]:
    parameters = set(inspect.signature(VisionTransformer.__init__).parameters)
    return tuple(sorted(parameters - NOT_VALUES - set(ArchSpec.model_fields) - set(RESERVED)))


VIT_OPTIONS = _vit_options()


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
