"""Builders of single modules of the official implementations, from their constructor arguments.

Attention modules and map refinement; complete models are built by the adapter beside their network. `config` has the
format of the golden cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from modelzoo.attention.contract import Slot
from modelzoo.attention.distributed_local_attention import DenseMapConvolution, DistributedLocalAttention
from modelzoo.attention.groupmix import GroupMixAttention
from modelzoo.attention.reattention import Reattention
from modelzoo.attention.refiner import MapSharingAttention, RefinedAttention
from modelzoo.models.adapter_checks import REQUIRED, complete
from search_space.parsing.errors import Problem, SpecError

__all__ = ["build_dla", "build_gma_module", "build_reattention", "build_refined_attention"]

ATTENTION_DEFAULTS: dict[str, Any] = {
    "dim": REQUIRED,
    "num_heads": 8,
    "qkv_bias": False,
    "qk_scale": None,
    "attn_drop": 0.0,
    "proj_drop": 0.0,
    "batch_norm_eps": 1e-5,
}
DLA_DEFAULTS: dict[str, Any] = {
    "inp": REQUIRED,
    "oup": REQUIRED,
    "kernel_size": 3,
    "expand_ratio": 3,
    "refine_mode": "conv_exapnd",
    "batch_norm_eps": 1e-5,
}
GMA_DEFAULTS: dict[str, Any] = {
    "dim": REQUIRED,
    "num_heads": 8,
    "aggregator_kernels": (3, 5, 7),
    "local_kernel": 3,
    "crpe_windows": {"3": 2, "5": 3, "7": 3},
    "qkv_bias": True,
    "proj_bias": True,
    "qk_scale": None,
    "proj_drop": 0.0,
    # These follow from the others and are checked if given.
    **dict.fromkeys(("segments", "segment_dim", "attention_dim", "channels_per_head", "effective_scale")),
}
# The official module stores its attention dropout but never applies it; the other two are descriptions.
GMA_UNUSED = ("activation", "attn_drop", "norm")


def build_reattention(config: Mapping[str, Any]) -> nn.Module:
    """Build DeepViT's Re-attention."""
    given = complete("reattention", config, {**ATTENTION_DEFAULTS, "apply_transform": True, "transform_scale": False})
    names = ("apply_transform", "transform_scale", "qk_scale", "batch_norm_eps")
    return Reattention(_slot(given), **{name: given[name] for name in names})


def build_dla(config: Mapping[str, Any]) -> nn.Module:
    """Build Refined-ViT's refinement of attention maps (distributed local attention)."""
    given = complete("dla", config, DLA_DEFAULTS)
    maps, returned, mode = given["inp"], given["oup"], given["refine_mode"]
    if mode == "conv_exapnd":  # the official spelling
        return DistributedLocalAttention(
            maps,
            returned,
            kernel_size=given["kernel_size"],
            expansion=given["expand_ratio"],
            batch_norm_eps=given["batch_norm_eps"],
        )
    if mode == "conv" and given["expand_ratio"] == 1:
        return DenseMapConvolution(maps, returned, kernel_size=given["kernel_size"])
    raise SpecError(
        Problem(
            f"dla: refine_mode={mode!r} with expand_ratio={given['expand_ratio']!r} is not supported",
            hint="legal: refine_mode='conv_exapnd', or refine_mode='conv' with expand_ratio=1",
        )
    )


def build_refined_attention(config: Mapping[str, Any]) -> nn.Module:
    """Build Refined-ViT's attention, which refines its own map or, with `share_atten`, that of the previous block."""
    defaults = {**ATTENTION_DEFAULTS, "apply_transform": True, "share_atten": False, "kernel_size": 3, "head_expand": 3}
    given = complete("refined_attention", config, defaults)
    shared = {name: given[name] for name in ("qk_scale", "batch_norm_eps")}
    if given["share_atten"]:
        # The official sharing block always expands by 3 with kernel 3, independent of its arguments.
        return MapSharingAttention(_slot(given), **shared)
    return RefinedAttention(
        _slot(given),
        expansion=given["head_expand"],
        kernel_size=given["kernel_size"],
        apply_transform=given["apply_transform"],
        **shared,
    )


def build_gma_module(config: Mapping[str, Any]) -> nn.Module:
    """Build GroupMixFormer's attention; its forward is `attend(tokens, grid_size=(height, width))`."""
    given = complete("gma_module", config, GMA_DEFAULTS, GMA_UNUSED)
    names = ("dim", "num_heads", "qkv_bias", "proj_bias", "proj_drop")
    module = GroupMixAttention(
        Slot(**{name: given[name] for name in names}),
        kernel_sizes=tuple(given["aggregator_kernels"]),
        local_kernel_size=given["local_kernel"],
        # JSON keys are always text.
        crpe_windows={int(window): heads for window, heads in given["crpe_windows"].items()},
        qk_scale=given["qk_scale"],
    )
    segments = len(given["aggregator_kernels"]) + 2
    segment_dim = given["dim"] // segments
    follows = {
        "segments": segments,
        "segment_dim": segment_dim,
        "attention_dim": given["dim"] - segment_dim,
        "channels_per_head": (given["dim"] - segment_dim) // given["num_heads"],
        "effective_scale": module.scale,
    }
    wrong = {
        name: value for name, value in follows.items() if given[name] is not None and abs(given[name] - value) > 1e-9
    }
    if wrong:
        raise SpecError(
            Problem(f"gma_module: {name} is {given[name]!r}, but {value!r} follows from the other arguments")
            for name, value in wrong.items()
        )
    return module


def _slot(given: Mapping[str, Any]) -> Slot:
    return Slot(**{name: given[name] for name in ("dim", "num_heads", "qkv_bias", "attn_drop", "proj_drop")})
