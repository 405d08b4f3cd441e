"""Position embeddings for images of other sizes, as DINO interpolates them, in timm's plain vision transformers.

The grid of the embedding is resized by bicubic interpolation without antialiasing, and 0.1 is added to the sides of the
new grid before they are divided by the old ones: the sampled places are those of a slightly larger grid. timm's own
`dynamic_img_size` resizes with antialiasing to the exact size, which gives other features of local views.

Paper:   DINO, Caron et al. 2021, arXiv:2104.14294.
Source:  written from a description of the released interpolation; checked against recorded embeddings and features.
Differs: also defined for models that were built for images that are not square.

Nothing is put into a model: tokens are made here from its public parts, so that copies and pickles of it, and its
behaviour at the size it was built for, are timm's. The model must not flatten its patches (`dynamic_img_size`).

Shapes:  B images, h x w grid of patches, N tokens (prefix first), D embed_dim.
"""

from __future__ import annotations

import torch
from timm.models import checkpoint_seq
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional as F

__all__ = ["block_outputs", "interpolated_positions", "is_plain_vit", "last_tokens", "tokens_of"]

_MARGIN = 0.1


def is_plain_vit(model: nn.Module) -> bool:
    """Whether tokens of other sizes are made here: of timm's VisionTransformer, and of a class with other blocks."""
    return (
        isinstance(model, VisionTransformer)
        and not hasattr(model, "dist_token")  # DeiT's second token has a position of its own
        and type(model).forward_features is VisionTransformer.forward_features
    )


def interpolated_positions(
    pos_embed: torch.Tensor, *, num_prefix: int, old_grid: tuple[int, int], new_grid: tuple[int, int]
) -> torch.Tensor:
    """Position embedding (1, num_prefix + h * w, D) of the new grid; those of prefix tokens as they are."""
    if old_grid == new_grid:
        return pos_embed
    prefix, grid = pos_embed[:, :num_prefix], pos_embed[:, num_prefix:]
    scale = tuple((new + _MARGIN) / old for old, new in zip(old_grid, new_grid, strict=True))
    grid = F.interpolate(
        grid.transpose(1, 2).unflatten(2, old_grid), scale_factor=scale, mode="bicubic", align_corners=False
    )
    assert tuple(grid.shape[-2:]) == new_grid
    return torch.cat([prefix, grid.flatten(2).transpose(1, 2)], dim=1)


def tokens_of(model: VisionTransformer, images: torch.Tensor) -> torch.Tensor:
    """Tokens (B, N, D) before the first block."""
    patches_BhwD = model.patch_embed(images)
    grid = (patches_BhwD.shape[1], patches_BhwD.shape[2])
    x_BND = patches_BhwD.flatten(1, 2)
    prefix = [token.expand(len(x_BND), -1, -1) for token in (model.cls_token, model.reg_token) if token is not None]
    num_prefix = 0 if model.no_embed_class else model.num_prefix_tokens
    if model.pos_embed is None:
        return torch.cat([*prefix, x_BND], dim=1)
    height, width = model.patch_embed.grid_size or grid
    positions = interpolated_positions(
        model.pos_embed, num_prefix=num_prefix, old_grid=(int(height), int(width)), new_grid=grid
    )
    if model.no_embed_class:
        x_BND = torch.cat([*prefix, x_BND + positions], dim=1)
    else:
        x_BND = torch.cat([*prefix, x_BND], dim=1) + positions
    return model.norm_pre(model.patch_drop(model.pos_drop(x_BND)))


def last_tokens(model: VisionTransformer, images: torch.Tensor) -> torch.Tensor:
    """Tokens (B, N, D) after the last block and the final norm, where the model has one before pooling."""
    x_BND = tokens_of(model, images)
    if model.grad_checkpointing and torch.is_grad_enabled():
        return model.norm(checkpoint_seq(model.blocks, x_BND))
    return model.norm(model.blocks(x_BND))


def block_outputs(model: VisionTransformer, images: torch.Tensor, num_blocks: int) -> list[torch.Tensor]:
    """Tokens (B, N, D) after each of the last blocks, the oldest first, before the final norm."""
    x_BND, found = tokens_of(model, images), []
    for block in model.blocks:
        x_BND = block(x_BND)
        found.append(x_BND)
    return found[-num_blocks:]
