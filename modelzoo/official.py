"""Modules of the official implementations, by their own constructor arguments and their own state.

This is where parity is decided, so it is strict: an argument nobody knows, a weight that is missing or left over, a
shape that differs is an error that names it. `config` is written as in the golden cases.

Systems: `reattention` (DeepViT), `dla` and `refined_attention` (Refined-ViT), `gma_module` (GroupMixFormer).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from modelzoo.attention.contract import Slot
from modelzoo.attention.distributed_local_attention import DenseMapConvolution, DistributedLocalAttention
from modelzoo.attention.groupmix import GroupMixAttention
from modelzoo.attention.reattention import Reattention
from modelzoo.attention.refiner import MapSharingAttention, RefinedAttention
from search_space.errors import Problem, SpecError, did_you_mean

__all__ = ["SYSTEMS", "from_official"]


def from_official(system: str, config: Mapping[str, Any], state_dict: Mapping[str, torch.Tensor]) -> nn.Module:
    """The module of an official `system` with its weights, in training mode.

    Args:
        config: the official constructor's arguments; those not given have the official defaults.
        state_dict: the official state, complete.

    Raises:
        SpecError: unknown system or argument, missing or left-over key, wrong shape: all that is wrong, by name.
    """
    if system not in SYSTEMS:
        raise SpecError(Problem(f"unknown system {system!r}", hint=did_you_mean(system, SYSTEMS)))
    defaults, build = SYSTEMS[system]
    unknown = [name for name in config if name not in defaults]
    missing = [name for name, value in defaults.items() if value is REQUIRED and name not in config]
    problems = [Problem(f"{system}: unknown argument {name!r}", hint=did_you_mean(name, defaults)) for name in unknown]
    problems += [Problem(f"{system}: argument {name!r} is missing") for name in missing]
    if problems:
        raise SpecError(problems)
    module = build({**defaults, **config})
    _load(module, state_dict, system)
    return module


def _load(module: nn.Module, state_dict: Mapping[str, torch.Tensor], system: str) -> None:
    own = module.state_dict()
    problems = [Problem(f"{system}: key {key!r} is missing from the state") for key in own if key not in state_dict]
    for key, value in state_dict.items():
        if key not in own:
            problems.append(Problem(f"{system}: key {key!r} is left over", hint=did_you_mean(key, own)))
        elif own[key].shape != value.shape:
            came, legal = tuple(value.shape), tuple(own[key].shape)
            problems.append(Problem(f"{system}: key {key!r} has shape {came}, but {legal} is needed"))
    if problems:
        raise SpecError(problems)
    module.load_state_dict(state_dict)


class _Required:
    """Marks an argument without a default."""


REQUIRED = _Required()

_ATTENTION: dict[str, Any] = {
    "dim": REQUIRED,
    "num_heads": 8,
    "qkv_bias": False,
    "qk_scale": None,
    "attn_drop": 0.0,
    "proj_drop": 0.0,
    "batch_norm_eps": 1e-5,
}


def _slot(config: Mapping[str, Any]) -> Slot:
    names = ("dim", "num_heads", "qkv_bias", "attn_drop", "proj_drop")
    return Slot(**{name: config[name] for name in names if name in config})


def _reattention(config: Mapping[str, Any]) -> nn.Module:
    names = ("apply_transform", "transform_scale", "qk_scale", "batch_norm_eps")
    return Reattention(_slot(config), **{name: config[name] for name in names})


def _dla(config: Mapping[str, Any]) -> nn.Module:
    maps, returned, mode = config["inp"], config["oup"], config["refine_mode"]
    if mode == "conv_exapnd":  # the official spelling
        return DistributedLocalAttention(
            maps,
            returned,
            kernel_size=config["kernel_size"],
            expansion=config["expand_ratio"],
            batch_norm_eps=config["batch_norm_eps"],
        )
    if mode == "conv" and config["expand_ratio"] == 1:
        return DenseMapConvolution(maps, returned, kernel_size=config["kernel_size"])
    raise SpecError(
        Problem(
            f"dla: refine_mode={mode!r} with expand_ratio={config['expand_ratio']!r} does not exist",
            hint="legal: refine_mode='conv_exapnd', or refine_mode='conv' with expand_ratio=1",
        )
    )


def _refined_attention(config: Mapping[str, Any]) -> nn.Module:
    shared = {name: config[name] for name in ("qk_scale", "batch_norm_eps")}
    if config["share_atten"]:
        # The official sharing block always expands by 3 with kernel 3, whatever else it is told.
        return MapSharingAttention(_slot(config), **shared)
    return RefinedAttention(
        _slot(config),
        expansion=config["head_expand"],
        kernel_size=config["kernel_size"],
        apply_transform=config["apply_transform"],
        **shared,
    )


def _gma_module(config: Mapping[str, Any]) -> nn.Module:
    windows = config["crpe_windows"]
    module = GroupMixAttention(
        Slot(
            dim=config["dim"],
            num_heads=config["num_heads"],
            qkv_bias=config["qkv_bias"],
            proj_bias=config["proj_bias"],
            attn_drop=config["attn_drop"],
            proj_drop=config["proj_drop"],
        ),
        kernel_sizes=tuple(config["aggregator_kernels"]),
        local_kernel_size=config["local_kernel"],
        # JSON knows only text as keys.
        crpe_windows={int(window): heads for window, heads in windows.items()},
        qk_scale=config["qk_scale"],
    )
    segment_dim = config["dim"] // (len(config["aggregator_kernels"]) + 2)
    follows = {
        "segments": len(config["aggregator_kernels"]) + 2,
        "segment_dim": segment_dim,
        "attention_dim": config["dim"] - segment_dim,
        "channels_per_head": (config["dim"] - segment_dim) // config["num_heads"],
        "effective_scale": module.scale,
    }
    wrong = {
        name: value for name, value in follows.items() if config[name] is not None and abs(config[name] - value) > 1e-9
    }
    if wrong:
        raise SpecError(
            Problem(f"gma_module: {name} is {config[name]!r}, but the other arguments make it {value!r}")
            for name, value in wrong.items()
        )
    return module


SYSTEMS: dict[str, tuple[dict[str, Any], Callable[[Mapping[str, Any]], nn.Module]]] = {
    "reattention": ({**_ATTENTION, "apply_transform": True, "transform_scale": False}, _reattention),
    "dla": (
        {
            "inp": REQUIRED,
            "oup": REQUIRED,
            "kernel_size": 3,
            "expand_ratio": 3,
            "refine_mode": "conv_exapnd",
            "batch_norm_eps": 1e-5,
        },
        _dla,
    ),
    "refined_attention": (
        {**_ATTENTION, "apply_transform": True, "share_atten": False, "kernel_size": 3, "head_expand": 3},
        _refined_attention,
    ),
    "gma_module": (
        {
            "dim": REQUIRED,
            "num_heads": 8,
            "aggregator_kernels": (3, 5, 7),
            "local_kernel": 3,
            "crpe_windows": {"3": 2, "5": 3, "7": 3},
            "qkv_bias": True,
            "proj_bias": True,
            "qk_scale": None,
            "attn_drop": 0.0,
            "proj_drop": 0.0,
            # What follows from the others, checked where given, and two descriptions.
            **dict.fromkeys(("segments", "segment_dim", "attention_dim", "channels_per_head", "effective_scale")),
            **dict.fromkeys(("norm", "activation")),
        },
        _gma_module,
    ),
}
