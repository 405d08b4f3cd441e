"""DeepViT: a plain vision transformer whose deeper blocks mix their heads' attention maps.

Paper:   DeepViT: Towards Deeper Vision Transformer, Zhou et al. 2021, arXiv:2103.11886.
Source:  written from the paper and from the released configurations (MIT); parity with the released model is tested.
Differs: the parts are arguments. `drop_rate` is the classifier's dropout, as everywhere in timm; in the released
         constructor it sets `pos_drop_rate` and `proj_drop_rate`.

Shapes:  B images, N tokens (class token first), D embed_dim.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from timm.layers import PatchEmbed
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from modelzoo.attention.contract import Slot, check_heads
from modelzoo.attention.reattention import MapLendingReattention, MapReusingReattention, Reattention
from modelzoo.attention.softmax import TemperedAttention
from modelzoo.models.block_indices import chosen_blocks, reject_unused_options
from modelzoo.models.deepvit.blocks import MapReuseBlock, ReattentionBlock
from modelzoo.models.deepvit.stem import conv_embed_layer
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["DeepVisionTransformer"]

STEMS = ("conv", "linear")


class DeepVisionTransformer(VisionTransformer):
    """timm's VisionTransformer with Re-attention in some of its blocks; the others keep timm's own attention.

    Args:
        reattention_blocks: `all`, the last n blocks if int, else a list of indices.
        shared_map_blocks: Blocks that reuse the softmax map of the last block before them that forms one (attention
            reuse): the last n if int, or a list of indices. They have no queries and keys, but V, Theta and norm of
            their own, so they are Re-attention blocks; the block whose map they reuse may be of either kind.
        temperature: Of the softmax in every block of a plain ViT: `learnable`, one positive scalar per block from 1 on,
            or [start, end], a line from the first block's to the last one's. None: 1.
        residual_scale: Scale s of `ReattentionBlock`.
        stem: `linear` (one convolution per patch) or `conv` (`ConvolutionalStem`).
        qk_scale: Scale of the logits instead of head_dim ** -0.5.
        fused: False computes the maps of plain attention explicitly, for `ReattentionBlock.attend`.
        reattention: Options of Re-attention, as in a sweep's `arch.attention`.

    Raises:
        SpecError: an unknown stem, blocks that do not exist, or that have no map to reuse, or a
            temperature that is none.
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
        proj_bias: bool = True,
        class_token: bool = True,
        dynamic_img_size: bool = False,
        reattention_blocks: str | int | Sequence[int] = "all",
        shared_map_blocks: str | int | Sequence[int] = 0,
        temperature: str | Sequence[float] | None = None,
        residual_scale: float = 1.0,
        stem: str = "linear",
        qk_scale: float | None = None,
        fused: bool = True,
        drop_rate: float = 0.0,
        pos_drop_rate: float = 0.0,
        patch_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        weight_init: Any = "",
        layer_norm_eps: float = 1e-6,
        act_layer: Any = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **reattention: Any,
    ) -> None:
        if stem not in STEMS:
            raise SpecError(Problem(f"DeepViT has no stem {stem!r}", hint=did_you_mean(stem, STEMS)))
        mixing = chosen_blocks("reattention_blocks", reattention_blocks, depth)
        if not mixing:
            reject_unused_options("DeepViT", Reattention, reattention, "no block has Re-attention")
        sharing = _sharing_blocks(shared_map_blocks, mixing, depth)
        lending = {index - 1 for index in sharing} - sharing
        tempered = _temperatures(temperature, depth, mixes=bool(mixing), qk_scale=qk_scale)
        slot = Slot(
            dim=embed_dim,
            num_heads=num_heads,
            num_prefix_tokens=int(class_token),
            qkv_bias=qkv_bias,
            proj_bias=proj_bias,
            attn_drop=attn_drop_rate,
            proj_drop=proj_drop_rate,
            device=device,
            dtype=dtype,
        )
        check_heads(slot)

        def attention(index: int) -> nn.Module:
            if tempered:
                return TemperedAttention(slot, **tempered[index])
            if index in sharing:
                return MapReusingReattention(slot, qk_scale=qk_scale, **reattention)
            if index in lending:
                options: dict[str, Any] = reattention if index in mixing else {"apply_transform": False}
                return MapLendingReattention(slot, qk_scale=qk_scale, **options)
            if index in mixing:
                return Reattention(slot, qk_scale=qk_scale, **reattention)
            if qk_scale or not fused:
                return Reattention(slot, qk_scale=qk_scale, apply_transform=False)
            return Attention(
                embed_dim,
                num_heads,
                qkv_bias=qkv_bias,
                proj_bias=proj_bias,
                attn_drop=attn_drop_rate,
                proj_drop=proj_drop_rate,
                **slot.factory,
            )

        # timm passes all of its arguments to every block; those that this class does not accept are at their defaults.
        def block(**given: Any) -> nn.Module:
            index = given["depth"]
            is_plain = index not in mixing | lending and not tempered
            if is_plain and fused and not qk_scale and residual_scale == 1:
                # A standard block, so that everything that supports timm's blocks supports it.
                return Block(**given)
            kind: Any = ReattentionBlock
            if index in sharing | lending:
                kind = partial(MapReuseBlock, takes_map=index in sharing, hands_on=index + 1 in sharing)
            return kind(
                attention(index),
                embed_dim,
                mlp_ratio=mlp_ratio,
                proj_bias=proj_bias,
                proj_drop=proj_drop_rate,
                drop_path=given["drop_path"],
                norm_layer=given["norm_layer"],
                act_layer=given["act_layer"],
                residual_scale=residual_scale,
                **slot.factory,
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
            proj_bias=proj_bias,
            class_token=class_token,
            dynamic_img_size=dynamic_img_size,
            drop_rate=drop_rate,
            pos_drop_rate=pos_drop_rate,
            patch_drop_rate=patch_drop_rate,
            proj_drop_rate=proj_drop_rate,
            attn_drop_rate=attn_drop_rate,
            drop_path_rate=drop_path_rate,
            weight_init=weight_init,
            embed_layer=conv_embed_layer(widths=(64, 64)) if stem == "conv" else PatchEmbed,
            norm_layer=partial(nn.LayerNorm, eps=layer_norm_eps),
            act_layer=act_layer,
            block_fn=block,  # pyright: ignore[reportArgumentType]
            **slot.factory,
        )

    def init_weights(self, mode: str = "", needs_reset: bool = True) -> None:
        """Initialise as timm, but the class token like the position embedding: truncated normal of std 0.02."""
        super().init_weights(mode, needs_reset)
        if self.cls_token is not None:
            nn.init.trunc_normal_(self.cls_token, std=0.02)


def _sharing_blocks(blocks: str | int | Sequence[int], mixing: set[int], depth: int) -> set[int]:
    """Indices of the blocks that reuse a map.

    Raises:
        SpecError: the first block is among them, or one without Re-attention.
    """
    sharing = chosen_blocks("shared_map_blocks", blocks, depth)
    problems = []
    if 0 in sharing:
        problems.append(
            Problem(
                f"shared_map_blocks={blocks!r}: block 0 cannot reuse a map, because no block before it forms one",
                path="arch.options.shared_map_blocks",
                hint=f"the last 0 to {depth - 1} blocks, or indices from 1",
            )
        )
    if plain := sorted(sharing - mixing):
        problems.append(
            Problem(
                f"shared_map_blocks={blocks!r}: a block that reuses a map has Theta and norm of its own, "
                f"but these have no Re-attention: {plain}",
                path="arch.options.shared_map_blocks",
                hint="name them in reattention_blocks, too",
            )
        )
    if problems:
        raise SpecError(problems)
    return sharing


def _temperatures(
    temperature: str | Sequence[float] | None, depth: int, *, mixes: bool, qk_scale: float | None
) -> list[dict[str, Any]]:
    """Options of the tempered attention of every block; empty without a temperature.

    Raises:
        SpecError: neither `learnable` nor two positive numbers, or an option that takes the temperature's place.
    """
    if temperature is None:
        return []
    path = "arch.options.temperature"
    problems = []
    if isinstance(temperature, str):
        if temperature != "learnable":
            problems.append(Problem(f"temperature is {temperature!r}", path=path, hint=_TEMPERATURES))
    elif not (isinstance(temperature, Sequence) and len(temperature) == 2 and all(map(_is_positive, temperature))):
        problems.append(Problem(f"temperature is {temperature!r}", path=path, hint=_TEMPERATURES))
    if mixes:
        text = "a temperature is of the softmax of a plain ViT, but reattention_blocks names blocks with Re-attention"
        problems.append(Problem(text, path=path, hint="write reattention_blocks: 0, or remove temperature"))
    if qk_scale:
        text = f"qk_scale={qk_scale:g} is a temperature of all blocks by itself"
        problems.append(Problem(text, path=path, hint="write one of the two"))
    if problems:
        raise SpecError(problems)
    if isinstance(temperature, str):
        return [{"learnable": True}] * depth
    start, end = temperature
    return [{"temperature": start + (end - start) * index / max(1, depth - 1)} for index in range(depth)]


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


_TEMPERATURES = "legal: learnable, or [START, END], both above 0, of the first and the last block"
