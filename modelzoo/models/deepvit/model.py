"""DeepViT: a plain vision transformer whose deeper blocks mix their heads' attention maps.

Paper:   DeepViT: Towards Deeper Vision Transformer, Zhou et al. 2021, arXiv:2103.11886.
Source:  written from the paper and from the released configurations (MIT); parity with the released model is tested.
Differs: the parts are arguments. `drop_rate` is the classifier's dropout, as everywhere in timm; the released
         constructor means `pos_drop_rate` and `proj_drop_rate` by that name.

Shapes:  B images, N tokens (class token first), D embed_dim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from timm.layers import DropPath, Mlp, PatchEmbed
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from modelzoo.attention.contract import Slot, TokenAttention, check_heads
from modelzoo.attention.reattention import Reattention
from modelzoo.models.deepvit.stem import ConvolutionalStem
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["DeepVisionTransformer", "ReattentionBlock", "chosen_blocks", "conv_embed_layer", "refuse_idle", "scaled"]

STEMS = ("conv", "linear")


class ReattentionBlock(nn.Module):
    """Pre-norm block with a residual scale s: x + attn(norm1(s x)) / s, then x + mlp(norm2(s x)) / s."""

    def __init__(
        self,
        attn: nn.Module,
        dim: int,
        *,
        mlp_ratio: float,
        proj_bias: bool,
        proj_drop: float,
        drop_path: float,
        norm_layer: Any,
        act_layer: Any,
        residual_scale: float,
    ) -> None:
        super().__init__()
        self.residual_scale = residual_scale
        self.norm1 = norm_layer(dim)
        self.attn = attn
        self.drop_path1 = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.norm2 = norm_layer(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), act_layer=act_layer, bias=proj_bias, drop=proj_drop)
        self.drop_path2 = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(
        self, x_BND: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        seen = self.norm1(scaled(x_BND, self.residual_scale))
        return self._add(x_BND, self.attn(seen, attn_mask=attn_mask, is_causal=is_causal))

    def attend(self, x_BND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Tokens, and the map that weighs V; the attention must be one of the zoo's."""
        assert isinstance(self.attn, TokenAttention)
        mixed_BND, attn_BHNN = self.attn.attend(self.norm1(scaled(x_BND, self.residual_scale)))
        return self._add(x_BND, mixed_BND), attn_BHNN

    def _add(self, x_BND: torch.Tensor, mixed_BND: torch.Tensor) -> torch.Tensor:
        back = 1 / self.residual_scale
        x_BND = x_BND + scaled(self.drop_path1(mixed_BND), back)
        return x_BND + scaled(self.drop_path2(self.mlp(self.norm2(scaled(x_BND, self.residual_scale)))), back)


class DeepVisionTransformer(VisionTransformer):
    """timm's VisionTransformer with Re-attention in some of its blocks; the others keep timm's own attention.

    Args:
        reattention_blocks: `all`, the last n blocks if int, else these indices.
        residual_scale: s of `ReattentionBlock`.
        stem: `linear` (one convolution per patch) or `conv` (`ConvolutionalStem`).
        qk_scale: scale of the logits in place of head_dim ** -0.5.
        fused: False computes plain attention's maps as well, for callers that look at them (`ReattentionBlock.attend`).
        reattention: options of every Re-attention, as in a sweep's `arch.attention`.

    Raises:
        SpecError: an unknown stem, or blocks that do not exist.
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
        **reattention: Any,
    ) -> None:
        if stem not in STEMS:
            raise SpecError(Problem(f"DeepViT has no stem {stem!r}", hint=did_you_mean(stem, STEMS)))
        mixing = chosen_blocks("reattention_blocks", reattention_blocks, depth)
        if not mixing:
            refuse_idle("DeepViT", reattention, "no block has Re-attention")
        slot = Slot(
            dim=embed_dim,
            num_heads=num_heads,
            num_prefix_tokens=int(class_token),
            qkv_bias=qkv_bias,
            proj_bias=proj_bias,
            attn_drop=attn_drop_rate,
            proj_drop=proj_drop_rate,
        )
        check_heads(slot)

        def attention(index: int) -> nn.Module:
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
            )

        # timm gives every block all of its arguments; those that this class does not take are at their defaults.
        def block(**given: Any) -> nn.Module:
            if given["depth"] not in mixing and fused and not qk_scale and residual_scale == 1:
                # Nothing is special about this block, so whatever fits timm's blocks fits it.
                return Block(**given)
            return ReattentionBlock(
                attention(given["depth"]),
                embed_dim,
                mlp_ratio=mlp_ratio,
                proj_bias=proj_bias,
                proj_drop=proj_drop_rate,
                drop_path=given["drop_path"],
                norm_layer=given["norm_layer"],
                act_layer=given["act_layer"],
                residual_scale=residual_scale,
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
        )

    def init_weights(self, mode: str = "", needs_reset: bool = True) -> None:
        """timm's, but the class token starts like the position embedding: normal of std 0.02, cut."""
        super().init_weights(mode, needs_reset)
        if self.cls_token is not None:
            nn.init.trunc_normal_(self.cls_token, std=0.02)


def scaled(x: torch.Tensor, factor: float) -> torch.Tensor:
    """x * factor, without the copy where the factor is 1."""
    return x if factor == 1 else x * factor


def chosen_blocks(name: str, blocks: str | int | Sequence[int], depth: int) -> set[int]:
    """Indices of `all` blocks, of the last n if int, or these."""
    if blocks == "all":
        return set(range(depth))
    if isinstance(blocks, str):
        raise SpecError(Problem(f"{name} is {blocks!r}", hint="legal: all, a number (the last ones), or indices"))
    if isinstance(blocks, int):
        if not 0 <= blocks <= depth:
            raise SpecError(Problem(f"{name}={blocks}: the model has {depth} blocks", hint=f"legal: 0 to {depth}"))
        return set(range(depth - blocks, depth))
    beyond = [index for index in blocks if not 0 <= index < depth]
    if beyond:
        raise SpecError(Problem(f"{name}: no such blocks: {beyond}", hint=f"the model has {depth}: 0 to {depth - 1}"))
    return set(blocks)


def refuse_idle(model: str, options: Iterable[str], reason: str) -> None:
    """Raises SpecError for options of a mechanism that stands nowhere in the model."""
    problems = [
        Problem(f"{model}: {name} would have no effect: {reason}", hint=f"leave {name} out") for name in options
    ]
    if problems:
        raise SpecError(problems)


def conv_embed_layer(**options: Any) -> Any:
    """`ConvolutionalStem` with these options, called as timm calls an embedding layer."""

    # timm also says whether to pad images, and device and dtype: models that use this never ask for any of them.
    def embed(*, dynamic_img_pad: bool, device: None, dtype: None, **kwargs: Any) -> nn.Module:
        assert not dynamic_img_pad
        return ConvolutionalStem(**kwargs, **options)

    return embed
