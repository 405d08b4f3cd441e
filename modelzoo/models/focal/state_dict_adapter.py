"""Adapter of the released Focal Transformers: constructor arguments and state dicts.

Source:  the released constructors' list of arguments and the layout of their checkpoints (MIT).
Differs: our parameters have the released names. Index and mask buffers of version 1 follow from the sizes: their shapes
         are checked and they are omitted. Version 2's tables of nearest keys are kept, because ties of equal distance
         may have been ordered differently; its coordinates, stored per query, are reduced to one per window.
         Our interpretation where the sources do not define it: `focal_stages` are the stages with pooled keys;
         `expand_stages` is accepted without effect, because `expand_sizes` and `expand_layer` define the expansion;
         lists longer than the number of stages are truncated; for `patch_norm` and `use_pre_norm` see `model.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from modelzoo.models.focal.attention import FocalAttention
from modelzoo.models.focal.attention_v2 import NearestKeysAttention, query_offsets
from modelzoo.models.focal.blocks import FocalBlock
from modelzoo.models.focal.model import FocalTransformer
from modelzoo.models.focal.windows import expanded_offsets
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["build_official", "official_state", "released_state"]

PER_STAGE = ("num_heads", "focal_levels", "focal_windows", "expand_sizes")
DEFAULTS: dict[str, Any] = {
    "img_size": 224,
    "patch_size": 4,
    "in_chans": 3,
    "num_classes": 1000,
    "embed_dim": 96,
    "depths": (2, 2, 6, 2),
    "num_heads": (3, 6, 12, 24),
    "window_size": 7,
    "mlp_ratio": 4.0,
    "qkv_bias": True,
    "qk_scale": None,
    "drop_rate": 0.0,
    "attn_drop_rate": 0.0,
    "drop_path_rate": 0.1,
    "ape": False,
    "patch_norm": True,
    "use_checkpoint": False,
    "use_shift": False,
    "focal_stages": (0, 1, 2, 3),
    "focal_levels": (2, 2, 2, 2),
    "focal_windows": (7, 5, 3, 1),
    "focal_pool": "fc",
    "focal_topK": None,
    "expand_stages": (0, 1, 2, 3),
    "expand_sizes": (3, 3, 3, 3),
    "expand_layer": "all",
    "use_conv_embed": False,
    "use_layerscale": False,
    "layerscale_value": 1e-4,
    "use_pre_norm": False,
}


def build_official(config: Mapping[str, Any]) -> nn.Module:
    """Build the released model from its constructor arguments; with `focal_topK`, version 2.

    Raises:
        SpecError: unknown arguments, or incompatible values.
    """
    unknown = [name for name in config if name not in DEFAULTS]
    if unknown:
        raise SpecError(
            Problem(f"focal_transformer: unknown argument {name!r}", hint=did_you_mean(name, DEFAULTS))
            for name in unknown
        )
    given = {**DEFAULTS, **config}
    stagewise: dict[str, Any] = {
        name: given[name] if isinstance(given[name], int) else tuple(given[name])[: len(given["depths"])]
        for name in PER_STAGE
    }
    if given["use_conv_embed"] and given["patch_size"] != 4:
        raise SpecError(
            Problem(
                f"focal_transformer: use_conv_embed needs patch_size=4, but got {given['patch_size']!r}",
                hint="the released convolutional stem has stride 4, independent of patch_size",
            )
        )
    model = FocalTransformer(
        given["img_size"] if isinstance(given["img_size"], int) else tuple(given["img_size"]),
        given["patch_size"],
        given["in_chans"],
        given["num_classes"],
        embed_dim=given["embed_dim"],
        depths=given["depths"],
        window_size=given["window_size"],
        mlp_ratio=given["mlp_ratio"],
        qkv_bias=given["qkv_bias"],
        qk_scale=given["qk_scale"],
        focal_pool=given["focal_pool"],
        focal_stages=given["focal_stages"],
        expand_layer=given["expand_layer"],
        shift=given["use_shift"],
        conv_embed=given["use_conv_embed"],
        patch_norm=given["patch_norm"],
        pre_norm_downsample=given["use_pre_norm"],
        pos_embed=given["ape"],
        layerscale_value=given["layerscale_value"] if given["use_layerscale"] else None,
        num_nearest_keys=given["focal_topK"],
        pos_drop_rate=given["drop_rate"],
        proj_drop_rate=given["drop_rate"],
        attn_drop_rate=given["attn_drop_rate"],
        drop_path_rate=given["drop_path_rate"],
        **stagewise,
    )
    model.set_grad_checkpointing(given["use_checkpoint"])
    return model


def official_state(state: Mapping[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """Convert a released state dict to the keys of `model`, with strict checks.

    Raises:
        SpecError: missing or unexpected keys, wrong shapes, or coordinates that are not distances to a window.
    """
    own = model.state_dict()
    follows = _shapes_that_follow(model)
    tables = _nearest_tables(model)
    needed = {key: tuple(value.shape) for key, value in own.items() if key not in tables.values()}
    needed |= {name: _released_shape(name, own[key], model) for name, key in tables.items()}
    problems = [
        Problem(f"focal_transformer: key {name!r} is missing from the state") for name in needed if name not in state
    ]
    mapped: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        legal = needed.get(name, follows.get(name))
        if legal is None:
            close = difflib.get_close_matches(name, needed, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else ""
            problems.append(Problem(f"focal_transformer: unexpected key {name!r} in the state", hint=hint))
        elif tuple(value.shape) != legal:
            came = tuple(value.shape)
            problems.append(Problem(f"focal_transformer: key {name!r} must have shape {legal}, but has {came}"))
        elif name in tables:
            value, why_not = _reduced(name, value, model)
            problems += [Problem(f"focal_transformer: key {name!r} {why_not}")] if why_not else []
            mapped[tables[name]] = value
        elif name not in follows:
            mapped[name] = value
    if problems:
        raise SpecError(problems)
    return mapped


def released_state(state: Mapping[str, Any], model: nn.Module) -> dict[str, torch.Tensor]:
    """Checkpoint filter for timm: converts a released or one of our own checkpoints to our keys."""
    tensors = state.get("model", state)
    follows, tables = _shapes_that_follow(model), _nearest_tables(model)
    renamed = {}
    for name, value in tensors.items():
        if name in tables:
            renamed[tables[name]] = _reduced(name, value, model)[0]
        elif name not in follows:
            renamed[name] = value
    return renamed


def _attentions(model: nn.Module, kind: type[nn.Module]) -> dict[str, Any]:
    return {name: module for name, module in model.named_modules() if isinstance(module, kind)}


def _shapes_that_follow(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of the released buffers that follow from the sizes, by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, attn in _attentions(model, FocalAttention).items():
        tokens = attn.window_size**2
        shapes[f"{name}.relative_position_index"] = (tokens, tokens)
        if attn.expand_size:
            shapes[f"{name}.valid_ind_rolled"] = (len(expanded_offsets(attn.window_size, attn.expand_size)),)
        for level in range(attn.num_pooled):
            cells = (attn.focal_window + 2**level - 1) ** 2
            shapes[f"{name}.relative_position_index_{level}"] = (tokens, cells)
            if level:
                shapes[f"{name}.valid_ind_unfold_{level}"] = (cells,)
    for name, block in _attentions(model, FocalBlock).items():
        if block.shift_size:
            windows, tokens = block.attn.num_windows, block.attn.window_size**2
            shapes[f"{name}.attn_mask"] = (windows[0] * windows[1], tokens, tokens)
    for name, attn in _attentions(model, NearestKeysAttention).items():
        shapes[f"{name}.window_coords"] = (attn.window_size, attn.window_size, 2)
    return shapes


def _nearest_tables(model: nn.Module) -> dict[str, str]:
    """Our buffer for each released table of version 2."""
    return {
        f"{name}.topk_cloest_{released}_{level}": f"{name}.nearest_{ours}_{level}"
        for name, attn in _attentions(model, NearestKeysAttention).items()
        for level in range(attn.num_levels)
        for released, ours in (("indice", "index"), ("coords", "to_centre"))
    }


def _released_shape(name: str, own: torch.Tensor, model: nn.Module) -> tuple[int, ...]:
    if "topk_cloest_coords" not in name:
        return tuple(own.shape)
    windows, keys, axes = own.shape
    return (windows, _attention_of(name, model).window_size ** 2, keys, axes)


def _attention_of(name: str, model: nn.Module) -> NearestKeysAttention:
    attn = model.get_submodule(name.rpartition(".")[0])
    assert isinstance(attn, NearestKeysAttention)
    return attn


def _reduced(name: str, value: torch.Tensor, model: nn.Module) -> tuple[torch.Tensor, str]:
    """Convert a released table to ours; also return a reason if it is invalid, else an empty string."""
    attn = _attention_of(name, model)
    if "topk_cloest_coords" not in name:
        level = int(name.rpartition("_")[2])
        rows, columns = attn.grid if level == 0 else attn.num_windows
        legal = bool((value >= 0).all()) and bool((value < rows * columns).all())
        return value, "" if legal else f"has positions outside of 0 .. {rows * columns - 1}"
    to_centre = value - query_offsets(attn.window_size, value.device)[:, None]
    same = bool((to_centre == to_centre[:, :1]).all())
    return to_centre[:, 0], "" if same else "does not contain distances from queries to keys"
