"""Adapter of the released RegionViT: constructor arguments and state dicts.

Source:  the released constructor's list of arguments and the layout of its checkpoints (Apache-2.0).
Differs: our keys are the released ones, with two exceptions: the released state contains the shared projection of
         regional and local maps twice (`proj.*` and `proj_cls.*`), and our learned regional token has its own module.
         Arguments of the released constructor without a usable default are required.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from modelzoo.models.regionvit.model import RegionViT
from modelzoo.models.regionvit.tokens import LearnedRegions
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["build_official", "official_state", "released_state"]

NEEDED = ("embed_dim", "depth", "num_heads", "kernel_sizes", "downsampling")
DEFAULTS: dict[str, Any] = {
    "img_size": 224,
    "patch_size": 16,
    "in_chans": 3,
    "num_classes": 1000,
    "mlp_ratio": 4.0,
    "qkv_bias": True,
    "qk_scale": None,
    "drop_rate": 0.0,
    "attn_drop_rate": 0.0,
    "drop_path_rate": 0.0,
    "patch_conv_type": "3conv",
    "computed_cls_token": True,
    "peg": False,
    "det_norm": False,
}


def build_official(config: Mapping[str, Any]) -> nn.Module:
    """Build the released model from its constructor arguments; missing ones have the released defaults.

    Raises:
        SpecError: unknown or missing arguments, or incompatible values.
    """
    known = (*NEEDED, *DEFAULTS)
    problems = [
        Problem(f"regionvit: unknown argument {name!r}", hint=did_you_mean(name, known))
        for name in config
        if name not in known
    ]
    problems += [Problem(f"regionvit: argument {name!r} is missing") for name in NEEDED if name not in config]
    if problems:
        raise SpecError(problems)
    given = {**DEFAULTS, **config}
    return RegionViT(
        _as_size(given["img_size"]),
        _side(given["patch_size"], "patch_size"),
        given["in_chans"],
        given["num_classes"],
        embed_dim=given["embed_dim"],
        depths=given["depth"],
        num_heads=given["num_heads"],
        window_size=_windows(given["kernel_sizes"]),
        mlp_ratio=given["mlp_ratio"],
        qkv_bias=given["qkv_bias"],
        qk_scale=given["qk_scale"],
        stem=given["patch_conv_type"],
        downsampling=given["downsampling"],
        regional_tokens="computed" if given["computed_cls_token"] else "shared",
        peg=given["peg"],
        det_norm=given["det_norm"],
        pos_drop_rate=given["drop_rate"],
        proj_drop_rate=given["drop_rate"],
        attn_drop_rate=given["attn_drop_rate"],
        drop_path_rate=given["drop_path_rate"],
    )


def official_state(state: Mapping[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """Convert a released state dict to the keys of `model`, with strict checks.

    Raises:
        SpecError: missing or unexpected keys, wrong shapes, or different copies of a shared projection.
    """
    own = model.state_dict()
    names = _released_names(model)
    problems = [Problem(f"regionvit: key {name!r} is missing from the state") for name in names if name not in state]
    mapped: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        if name not in names:
            problems.append(Problem(f"regionvit: unexpected key {name!r} in the state", hint=did_you_mean(name, names)))
            continue
        key = names[name]
        if name == "cls_token" and value.numel() == own[key].numel():
            value = value.reshape(own[key].shape)
        if value.shape != own[key].shape:
            came, legal = tuple(value.shape), tuple(own[key].shape)
            problems.append(Problem(f"regionvit: key {name!r} must have shape {legal}, but has {came}"))
        elif key in mapped and not torch.equal(mapped[key], value):
            problems.append(
                Problem(
                    f"regionvit: key {name!r} differs from {key!r}, but the released model has one projection",
                    hint="both keys are the same weights; use the correct ones for both",
                )
            )
        mapped.setdefault(key, value)
    if problems:
        raise SpecError(problems)
    return mapped


def released_state(state: Mapping[str, Any], model: nn.Module) -> dict[str, torch.Tensor]:
    """Checkpoint filter for timm: converts a released or one of our own checkpoints to our keys."""
    tensors: Mapping[str, torch.Tensor] = state.get("model", state)
    names = _released_names(model)
    return {names.get(name, name): value for name, value in tensors.items()}


def _released_names(model: nn.Module) -> dict[str, str]:
    """Our key for each released key; both keys of a shared projection map to the same one."""
    names: dict[str, str] = {}
    for key in model.state_dict():
        if key == "cls_token.token" and isinstance(model.cls_token, LearnedRegions):
            names["cls_token"] = key
            continue
        names[key] = key
        if ".block.0.proj." in key and model.cls_token is not None:
            names[key.replace(".proj.", ".proj_cls.")] = key
    return names


def _windows(kernel_sizes: Any) -> Any:
    if isinstance(kernel_sizes, int):
        return kernel_sizes
    return tuple(_side(size, "kernel_sizes") for size in kernel_sizes)


def _as_size(value: Any) -> int | tuple[int, int]:
    return value if isinstance(value, int) else (value[0], value[1])


def _side(value: Any, name: str) -> int:
    if isinstance(value, int):
        return value
    height, width = value
    if height != width:
        raise SpecError(Problem(f"regionvit: {name} must be square, but got {value!r}"))
    return height
