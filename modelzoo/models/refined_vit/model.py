"""Refined-ViT: a vision transformer whose blocks pass on and refine attention maps, with a dense head for patches.

Paper:   Refiner: Refining Self-attention for Vision Transformers, Zhou et al. 2021, arXiv:2106.03714.
Source:  written from a description of the released models (whose code has no licence); parity is tested.
Differs: the parts are arguments; the released layout (every second block refines the previous block's map) and the
         paper's (every block refines its own) are two values of `layout`. `drop_rate` is the classifier's dropout, as
         everywhere in timm. `forward` returns the logits of evaluation also in training, so that any classification
         loop trains both heads; `forward_dense` returns the released model's training output.

Shapes:  B images, N tokens (class token first), D embed_dim, h x w patch grid, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from modelzoo.attention.contract import Slot, unmasked
from modelzoo.attention.refiner import RefinedAttention
from modelzoo.models.block_indices import reject_unused_options, taken_indices
from modelzoo.models.deepvit.stem import conv_embed_layer
from modelzoo.models.refined_vit.blocks import BORROWING, RefinedBlock, make_attention, resolve_layout
from modelzoo.models.refined_vit.mix_token import Box, draw_box, exchange
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["RefinedVisionTransformer"]

STEMS = {"conv": conv_embed_layer(widths=(32, 64, 128), flatten=False), "linear": partial(PatchEmbed, flatten=False)}


class RefinedVisionTransformer(VisionTransformer):
    """Refined-ViT; with a dense head, logits are those of the class token + half the maximum of the patches' logits.

    Args:
        layout: `alternating` (plain, sharing), `every` (refined), `plain`, or a list of kinds of blocks (blocks.py),
            repeated to the depth.
        sharing: Options of the blocks that refine the previous block's map, instead of `refiner`.
        residual_map: Whether blocks that compute a map add the scaled map of the previous block.
        residual_scale: Scale s of `RefinedBlock`.
        mlp_scale: Initial value of the learned factors after each MLP; None: no factors.
        dense_head: Classify patches as well.
        mix_token: Exchange a box of patches between images in `forward_dense`, in training.
        qk_scale: Scale of logits and incoming maps instead of head_dim ** -0.5.
        pos_grid: Grid of the position embedding if it differs from the patch grid: resized bilinearly at every call.
        refiner: Options of every block that refines a map, as in a sweep's `arch.attention`.

    Raises:
        SpecError: an unknown stem or layout, or maps that the next block cannot use.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: Any = "token",
        *,
        embed_dim: int = 384,
        depth: int = 16,
        num_heads: int = 12,
        mlp_ratio: float = 3.0,
        qkv_bias: bool = True,
        class_token: bool = True,
        layout: str | Sequence[str] = "alternating",
        sharing: Mapping[str, Any] | None = None,
        residual_map: bool = True,
        residual_scale: float = 0.5,
        mlp_scale: float | None = 1e-5,
        dense_head: bool = True,
        mix_token: bool = True,
        stem: str = "conv",
        qk_scale: float | None = None,
        pos_grid: tuple[int, int] | None = None,
        drop_rate: float = 0.0,
        pos_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        weight_init: Any = "",
        layer_norm_eps: float = 1e-6,
        act_layer: Any = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **refiner: Any,
    ) -> None:
        if stem not in STEMS:
            raise SpecError(Problem(f"Refined-ViT has no stem {stem!r}", hint=did_you_mean(stem, STEMS)))
        kinds = resolve_layout(layout, depth)
        if set(kinds) <= {"plain", "reusing"}:
            reject_unused_options("Refined-ViT", RefinedAttention, refiner, "no block refines a map")
        shared = refiner if sharing is None else sharing
        slot = Slot(
            dim=embed_dim,
            num_heads=num_heads,
            grid_size=_grid(img_size, patch_size),
            num_prefix_tokens=int(class_token),
            qkv_bias=qkv_bias,
            attn_drop=attn_drop_rate,
            proj_drop=proj_drop_rate,
            device=device,
            dtype=dtype,
        )

        # timm passes all of its arguments to every block; those that this class does not accept are at their defaults.
        def block(*, depth: int, drop_path: float, norm_layer: Any, act_layer: Any, **_: Any) -> RefinedBlock:
            return RefinedBlock(
                make_attention(kinds[depth], slot, refiner=refiner, sharing=shared, qk_scale=qk_scale),
                mlp_ratio=mlp_ratio,
                drop_path=drop_path,
                norm_layer=norm_layer,
                act_layer=act_layer,
                residual_scale=residual_scale,
                mlp_scale=mlp_scale,
                residual_map=residual_map or kinds[depth] in BORROWING,
            )

        super().__init__(
            img_size,
            patch_size,
            in_chans,
            num_classes,
            global_pool,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
            class_token=class_token,
            drop_rate=drop_rate,
            pos_drop_rate=pos_drop_rate,
            proj_drop_rate=proj_drop_rate,
            attn_drop_rate=attn_drop_rate,
            drop_path_rate=drop_path_rate,
            weight_init="skip",  # initialised once, below, with the second head
            embed_layer=STEMS[stem],
            norm_layer=partial(nn.LayerNorm, eps=layer_norm_eps),
            act_layer=act_layer,
            block_fn=block,  # pyright: ignore[reportArgumentType]
            **slot.factory,
        )
        _check_maps(self.blocks, num_heads)
        self.dense_head, self.mix_token, self.pos_grid = dense_head, mix_token, pos_grid
        if pos_grid is not None:
            num_positions = pos_grid[0] * pos_grid[1] + int(class_token)
            self.pos_embed = nn.Parameter(torch.empty(1, num_positions, embed_dim, **slot.factory))
        self.aux_head = nn.Linear(embed_dim, num_classes, **slot.factory) if dense_head and num_classes > 0 else None
        self.weight_init_mode = weight_init
        self.init_weights(needs_reset=False)

    def init_weights(self, mode: str = "", needs_reset: bool = True) -> None:
        """Initialise as timm, but the class token like the position embedding: truncated normal of std 0.02."""
        super().init_weights(mode, needs_reset)
        if self.cls_token is not None:
            nn.init.trunc_normal_(self.cls_token, std=0.02)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace both heads; 0 classes leave the features. Pooling stays unless another is given, '' for none."""
        super().reset_classifier(num_classes, global_pool)
        self.aux_head = None
        if self.dense_head and num_classes > 0:
            weight = next(self.blocks.parameters())
            self.aux_head = nn.Linear(self.embed_dim, num_classes, device=weight.device, dtype=weight.dtype)
            self.aux_head.train(self.training)

    def _embed(self, map_BhwD: torch.Tensor) -> torch.Tensor:
        tokens_BND = map_BhwD.flatten(1, 2)
        if self.cls_token is not None:
            tokens_BND = torch.cat([self.cls_token.expand(tokens_BND.shape[0], -1, -1), tokens_BND], dim=1)
        assert self.pos_embed is not None
        pos_embed = self.pos_embed
        if self.pos_grid is not None:
            pos_embed = _resized(pos_embed, self.num_prefix_tokens, self.pos_grid, map_BhwD.shape[1:3])
        return self.pos_drop(tokens_BND + pos_embed)

    def _step(
        self, block: nn.Module, x_BND: torch.Tensor, incoming: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.grad_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, x_BND, incoming, use_reentrant=False)  # pyright: ignore[reportReturnType]
        return block(x_BND, incoming)

    def forward_features(
        self, x: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        """Tokens (B, N, D) after the final norm. Masks are refused: refined maps mix tokens that a mask separates."""
        x = unmasked(x, attn_mask, is_causal, "RefinedVisionTransformer")
        return self._tokens(self.patch_embed(x).permute(0, 2, 3, 1))[0]

    def _tokens(self, map_BhwD: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        x, handed_on = self._embed(map_BhwD), None
        maps = []
        for block in self.blocks:
            x, handed_on = self._step(block, x, handed_on)
            maps.append(handed_on)
        return self.norm(x), maps

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Logits, or pooled features of the class token's head with `pre_logits`; without pooling of every token.

        The patches' head votes only where there is one answer per image.
        """
        out = super().forward_head(x, pre_logits)
        if pre_logits or self.aux_head is None or not self.global_pool:
            return out
        return out + 0.5 * self._patch_logits(x).max(dim=1).values

    def _patch_logits(self, x_BND: torch.Tensor) -> torch.Tensor:
        assert self.aux_head is not None
        return self.aux_head(self.fc_norm(x_BND[:, self.num_prefix_tokens :]))

    def forward_dense(
        self, x: torch.Tensor, box: Box | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, Box, list[torch.Tensor | None]]:
        """Class logits (B, K), patch logits (B, h * w, K), the exchanged box, and the attention maps of all blocks.

        Args:
            box: Box to exchange; None draws one in training if `mix_token`, and else exchanges nothing.
        """
        map_BhwD = self.patch_embed(x).permute(0, 2, 3, 1)
        grid_size = (map_BhwD.shape[1], map_BhwD.shape[2])
        if box is None:
            box = draw_box(grid_size) if self.mix_token and self.training else Box()
        tokens_BND, maps = self._tokens(exchange(map_BhwD, box))
        patch_logits = exchange(self._patch_logits(tokens_BND).unflatten(1, grid_size), box).flatten(1, 2)
        return super().forward_head(tokens_BND), patch_logits, box, maps

    # Without timm's `output_dict` and masks: maps that are handed on have no place there.
    def forward_intermediates(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        x: torch.Tensor,
        indices: int | list[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Final tokens and the features after the chosen blocks, as in timm.

        Args:
            indices: The last n blocks if int, all if None, else a list.
            output_fmt: NCHW or NLC, of the patches' features.
        """
        assert output_fmt in ("NCHW", "NLC"), "Output format must be one of NCHW or NLC."
        taken = taken_indices(indices, len(self.blocks))
        map_BhwD = self.patch_embed(x).permute(0, 2, 3, 1)
        grid_size = (map_BhwD.shape[1], map_BhwD.shape[2])
        tokens, handed_on, kept = self._embed(map_BhwD), None, []
        for index, block in enumerate(self.blocks[: max(taken) + 1] if stop_early else self.blocks):
            tokens, handed_on = self._step(block, tokens, handed_on)
            if index in taken:
                kept.append(self.norm(tokens) if norm else tokens)
        prefixes = [each[:, : self.num_prefix_tokens] for each in kept]
        kept = [each[:, self.num_prefix_tokens :] for each in kept]
        if output_fmt == "NCHW":
            kept = [each.transpose(1, 2).unflatten(2, grid_size).contiguous() for each in kept]
        intermediates = list(zip(kept, prefixes, strict=True)) if return_prefix_tokens else kept
        return intermediates if intermediates_only else (self.norm(tokens), intermediates)

    def forward(self, x: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False) -> Any:
        """Class logits: (B, in_chans, height, width) -> (B, K)."""
        return self.forward_head(self.forward_features(x, attn_mask, is_causal))


def _resized(pos_embed: torch.Tensor, num_prefix: int, old: tuple[int, int], new: Sequence[int]) -> torch.Tensor:
    prefix, grid = pos_embed[:, :num_prefix], pos_embed[:, num_prefix:]
    grid = grid.transpose(1, 2).unflatten(2, old)
    grid = F.interpolate(grid, size=tuple(new), mode="bilinear", align_corners=True)
    return torch.cat([prefix, grid.flatten(2).transpose(1, 2)], dim=1)


def _grid(img_size: int | tuple[int, int], patch_size: int) -> tuple[int, int]:
    """Patches that fit the image, as timm counts them."""
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    return height // patch_size, width // patch_size


def _check_maps(blocks: nn.Module, num_heads: int) -> None:
    """Raise SpecError if a block passes on expanded maps that the next block cannot add or refine."""
    handed_on = num_heads
    for index, block in enumerate(blocks.children()):
        assert isinstance(block, RefinedBlock)
        if block.residual_map and handed_on != num_heads:
            raise SpecError(
                Problem(
                    f"block {index} receives {handed_on} maps of the previous block, but has {num_heads} heads",
                    hint="with `reduction: false` write residual_map: false and use no sharing block",
                )
            )
        if isinstance(block.attn, RefinedAttention):
            handed_on = num_heads if block.attn.DLA is None else block.attn.DLA.num_returned
