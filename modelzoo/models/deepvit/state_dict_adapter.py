"""Adapter of the released DeepViT: builds the model from the released constructor's arguments; equal state keys.

Source:  the released constructor's list of arguments and the layout of its checkpoints (MIT).
Differs: the hybrid backbone is refused. `depth` must be a list, as in the release, where a number fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from modelzoo.models.adapter_checks import REQUIRED, complete, set_batch_norm_eps
from modelzoo.models.deepvit.blocks import ReattentionBlock
from modelzoo.models.deepvit.model import DeepVisionTransformer
from modelzoo.models.deepvit.stem import ConvolutionalStem
from search_space.parsing.errors import Problem, SpecError

__all__ = ["blocks_of", "build_official", "build_official_stem", "image_size", "refuse_hybrid"]

DEFAULTS: dict[str, Any] = {
    "img_size": 224,
    "patch_size": 16,
    "in_chans": 3,
    "num_classes": 1000,
    "embed_dim": 768,
    "depth": REQUIRED,
    "num_heads": 12,
    "mlp_ratio": 4.0,
    "qkv_bias": False,
    "qk_scale": None,
    "drop_rate": 0.0,
    "attn_drop_rate": 0.0,
    "drop_path_rate": 0.0,
    "hybrid_backbone": None,
    "re_atten": True,
    "cos_reg": False,
    "use_cnn_embed": False,
    "apply_transform": REQUIRED,
    "transform_scale": False,
    "scale_adjustment": 1.0,
    "layer_norm_eps": 1e-6,
    "batch_norm_eps": 1e-5,
}
UNUSED = ("group",)
STEM_DEFAULTS = {"img_size": 224, "patch_size": 16, "in_chans": 3, "embed_dim": 768, "batch_norm_eps": 1e-5}


class ReleasedDeepViT(DeepVisionTransformer):
    """DeepViT with the released output: with `cos_reg` and in training, (logits, maps of all blocks)."""

    cos_reg = False

    def forward(self, x: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False) -> Any:
        if not (self.cos_reg and self.training):
            return super().forward(x, attn_mask, is_causal)
        assert self.cls_token is not None
        assert self.pos_embed is not None
        tokens = self.patch_embed(x)
        tokens = torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        tokens = self.pos_drop(tokens + self.pos_embed)
        maps = []
        for block in self.blocks:
            assert isinstance(block, ReattentionBlock)
            tokens, attn = block.attend(tokens)
            maps.append(attn)
        return self.forward_head(self.norm(tokens)), maps


def build_official(config: Mapping[str, Any]) -> nn.Module:
    """Build the released model from its constructor arguments; missing ones have the released defaults.

    Raises:
        SpecError: unknown or missing arguments, or incompatible values.
    """
    given = complete("deepvit", config, DEFAULTS, UNUSED)
    refuse_hybrid("deepvit", given)
    depth = blocks_of("deepvit", given)
    # Without `re_atten` the released blocks are plain: no mixing, and no residual scale either.
    applies = given["apply_transform"][:depth] if given["re_atten"] else []
    mixing = [index for index, mixes in enumerate(applies) if mixes]
    model = ReleasedDeepViT(
        image_size(given["img_size"]),
        given["patch_size"],
        given["in_chans"],
        given["num_classes"],
        embed_dim=given["embed_dim"],
        depth=depth,
        num_heads=given["num_heads"],
        mlp_ratio=given["mlp_ratio"],
        qkv_bias=given["qkv_bias"],
        reattention_blocks=mixing,
        residual_scale=given["scale_adjustment"] if given["re_atten"] else 1.0,
        stem="conv" if given["use_cnn_embed"] else "linear",
        qk_scale=given["qk_scale"],
        fused=False,
        pos_drop_rate=given["drop_rate"],
        proj_drop_rate=given["drop_rate"],
        attn_drop_rate=given["attn_drop_rate"],
        drop_path_rate=given["drop_path_rate"],
        layer_norm_eps=given["layer_norm_eps"],
        **({"transform_scale": given["transform_scale"]} if mixing else {}),
    )
    model.cos_reg = given["cos_reg"]
    set_batch_norm_eps(model, given["batch_norm_eps"])
    return model


def build_official_stem(config: Mapping[str, Any]) -> nn.Module:
    """Build DeepViT's convolutional patch embedding from its released arguments."""
    given = complete("deepvit_stem", config, STEM_DEFAULTS)
    stem = ConvolutionalStem(
        image_size(given["img_size"]), given["patch_size"], given["in_chans"], given["embed_dim"], widths=(64, 64)
    )
    set_batch_norm_eps(stem, given["batch_norm_eps"])
    return stem


def image_size(value: Any) -> int | tuple[int, int]:
    """Image size as an int or a tuple (height, width); JSON has lists."""
    return value if isinstance(value, int) else (value[0], value[1])


def refuse_hybrid(system: str, given: Mapping[str, Any]) -> None:
    """Raise SpecError if a backbone replaces the patch embedding."""
    if given["hybrid_backbone"] is not None:
        raise SpecError(
            Problem(f"{system}: hybrid_backbone is not supported", hint="legal: None; use_cnn_embed gives a conv stem")
        )


def blocks_of(system: str, given: Mapping[str, Any]) -> int:
    """Number of blocks, from the released per-block lists.

    Raises:
        SpecError: `depth` or `apply_transform` is not a list, or the latter is shorter.
    """
    problems = [
        Problem(f"{system}: {name} must be a list with an entry per block, but got {given[name]!r}")
        for name in ("depth", "apply_transform")
        if not isinstance(given[name], list | tuple)
    ]
    if not problems and len(given["apply_transform"]) < len(given["depth"]):
        problems.append(
            Problem(
                f"{system}: apply_transform has {len(given['apply_transform'])} entries, "
                f"but depth has {len(given['depth'])}",
                hint="write one entry per block in both",
            )
        )
    if problems:
        raise SpecError(problems)
    return len(given["depth"])
