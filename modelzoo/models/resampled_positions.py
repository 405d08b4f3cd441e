"""Weights of another image size: position embeddings and bias tables are resampled as in timm's own models.

timm gives these filters the weights of `pretrained=True`, from its hub or from a file
(`pretrained_cfg_overlay={"file": ...}`). `checkpoint_path` loads strictly, in timm's models and in ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table
from timm.models.swin_transformer import WindowAttention
from timm.models.vision_transformer import VisionTransformer
from torch import nn

__all__ = ["resampled_positions", "with_resampled_positions", "with_resampled_tables"]

TABLE = "relative_position_bias_table"


def with_resampled_positions(state: Mapping[str, Any], model: nn.Module) -> dict[str, torch.Tensor]:
    """Checkpoint filter of vision transformers: the position embedding in the size of the model's grid."""
    assert isinstance(model, VisionTransformer)
    tensors = dict(_unwrapped(state))
    if "pos_embed" in tensors:
        tensors["pos_embed"] = resampled_positions(tensors["pos_embed"], model, _source_size(model))
    return tensors


def with_resampled_tables(state: Mapping[str, Any], model: nn.Module) -> dict[str, torch.Tensor]:
    """Checkpoint filter of models with Swin's window attention: bias tables in the size of the model's windows.

    Tables of square windows are resized, as timm does; others keep their shape, and loading them then fails.
    """
    tensors = dict(_unwrapped(state))
    for name, module in model.named_modules():
        key = f"{name}.{TABLE}"
        if not isinstance(module, WindowAttention) or key not in tensors:
            continue
        theirs, ours = tensors[key], module.relative_position_bias_table
        if theirs.shape != ours.shape and _root(theirs.shape[0]) is not None:
            window: Any = module.window_size  # timm's helper for pairs has no narrower type
            tensors[key] = resize_rel_pos_bias_table(theirs, window, tuple(ours.shape))
    return tensors


def resampled_positions(
    pos_embed: torch.Tensor, model: VisionTransformer, image_size: tuple[int, int] | None = None
) -> torch.Tensor:
    """Position embedding for the grid of a model, as timm resamples it (bicubic); prefix tokens keep theirs.

    Args:
        image_size: Height and width of the images that the embedding was trained for. Without them, or if they do not
            have its number of patches, its grid is square; if it cannot be, the embedding is returned as it is.
    """
    # Refined-ViT may keep its positions on a grid of their own, whatever the size of its images.
    own: tuple[int, int] | None = getattr(model, "pos_grid", None)
    new = own or model.patch_embed.grid_size
    assert new is not None
    num_prefix = model.num_prefix_tokens
    num_patches = pos_embed.shape[1] - num_prefix if pos_embed.ndim == 3 else 0
    side = _root(num_patches)
    old = None if image_size is None or own else tuple(model.patch_embed.dynamic_feat_size(image_size))
    if old is None or old[0] * old[1] != num_patches:
        if num_patches in (0, new[0] * new[1]) or side is None:
            return pos_embed
        old = (side, side)
    if old == tuple(new):
        return pos_embed
    return resample_abs_pos_embed(pos_embed, new_size=list(new), old_size=list(old), num_prefix_tokens=num_prefix)


def _source_size(model: nn.Module) -> tuple[int, int]:
    """Image size of the weights: of the saved model's arguments, else of the configuration of the weights."""
    size = getattr(model, "pretrained_model_args", {}).get("img_size")
    if size is None:
        size = getattr(model, "pretrained_cfg", {}).get("input_size", (3, 224, 224))[-2:]
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _unwrapped(state: Mapping[str, Any]) -> Mapping[str, torch.Tensor]:
    for wrapping in ("model", "state_dict"):
        state = state.get(wrapping, state)
    return state


def _root(number: int) -> int | None:
    """Square root, None if it is not whole."""
    root = round(max(number, 0) ** 0.5)
    return root if root**2 == number else None
