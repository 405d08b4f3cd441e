"""Adapter of the released Refined-ViT: builds the model from the released constructor's arguments; equal state keys.

Source:  a description of the released constructor and of the layout of its checkpoints (the code has no licence).
Differs: the hybrid backbone is refused; `depth` must be a list. Sharing blocks ignore `head_expand` and
         `refinement_kernel`, as released: they always expand by 3 with kernel 3.
         Our interpretation, because the description does not define it: with `interpolate_pos_embedding` the embedding
         is stored for 14 x 14 patches and resized to the patch grid of the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from modelzoo.attention.contract import Slot
from modelzoo.models.adapter_checks import REQUIRED, complete, set_batch_norm_eps
from modelzoo.models.deepvit.state_dict_adapter import blocks_of, image_size, refuse_hybrid
from modelzoo.models.deepvit.stem import ConvolutionalStem
from modelzoo.models.refined_vit.blocks import RefinedBlock, make_attention
from modelzoo.models.refined_vit.model import RefinedVisionTransformer
from search_space.parsing.errors import Problem, SpecError

__all__ = ["build_official", "build_official_block", "build_official_stem"]

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
    "cos_reg": False,
    "use_cnn_embed": True,
    "apply_transform": REQUIRED,
    "interpolate_pos_embedding": False,
    "head_expand": 3,
    "mix_token": True,
    "return_dense": True,
    "refinement_kernel": 3,
    "layer_norm_eps": 1e-6,
    "batch_norm_eps": 1e-5,
}
UNUSED = ("group", "share_atten")
STEM_DEFAULTS = {"img_size": 224, "patch_size": 16, "in_chans": 3, "embed_dim": 768, "batch_norm_eps": 1e-5}
BLOCK_DEFAULTS: dict[str, Any] = {
    "dim": REQUIRED,
    "num_heads": REQUIRED,
    "mlp_ratio": 4.0,
    "qkv_bias": False,
    "qk_scale": None,
    "drop": 0.0,
    "attn_drop": 0.0,
    "drop_path": 0.0,
    "apply_transform": False,
    "share_atten": False,
    "head_expand": 3,
    "refinement_kernel": 3,
    "layer_norm_eps": 1e-6,
    "batch_norm_eps": 1e-5,
}
RELEASED_GRID = (14, 14)


class ReleasedRefinedViT(RefinedVisionTransformer):
    """Refined-ViT with the released output: in training (logits, patch logits, box), with `cos_reg` also the maps."""

    cos_reg = False

    def forward(self, x: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False) -> Any:
        if not self.training:
            return super().forward(x, attn_mask, is_causal)
        if self.dense_head:
            logits, patch_logits, box, maps = self.forward_dense(x)
            dense = (logits, patch_logits, tuple(box))
            return (*dense, maps) if self.cos_reg else dense
        tokens, maps = self._tokens(self.patch_embed(x).permute(0, 2, 3, 1))
        logits = self.forward_head(tokens)
        return (logits, maps) if self.cos_reg else logits


def build_official(config: Mapping[str, Any]) -> nn.Module:
    """Build the released model from its constructor arguments; missing ones have the released defaults.

    Raises:
        SpecError: unknown or missing arguments, or incompatible values.
    """
    given = complete("refined_vit", config, DEFAULTS, UNUSED)
    refuse_hybrid("refined_vit", given)
    depth = blocks_of("refined_vit", given)
    if given["mix_token"] and not given["return_dense"]:
        raise SpecError(
            Problem(
                "refined_vit: mix_token needs return_dense, but got mix_token=True, return_dense=False",
                hint="only patch logits can separate the mixed patches; write mix_token: false",
            )
        )
    layout = [_kind(*flags) for flags in zip(given["depth"], given["apply_transform"], strict=False)]
    refiner = {"expansion": given["head_expand"], "kernel_size": given["refinement_kernel"]}
    model = ReleasedRefinedViT(
        image_size(given["img_size"]),
        given["patch_size"],
        given["in_chans"],
        given["num_classes"],
        embed_dim=given["embed_dim"],
        depth=depth,
        num_heads=given["num_heads"],
        mlp_ratio=given["mlp_ratio"],
        qkv_bias=given["qkv_bias"],
        layout=layout,
        sharing={},
        dense_head=given["return_dense"],
        mix_token=given["mix_token"],
        stem="conv" if given["use_cnn_embed"] else "linear",
        qk_scale=given["qk_scale"],
        pos_grid=RELEASED_GRID if given["interpolate_pos_embedding"] else None,
        pos_drop_rate=given["drop_rate"],
        proj_drop_rate=given["drop_rate"],
        attn_drop_rate=given["attn_drop_rate"],
        drop_path_rate=given["drop_path_rate"],
        layer_norm_eps=given["layer_norm_eps"],
        **(refiner if "refined" in layout else {}),
    )
    model.cos_reg = given["cos_reg"]
    if given["interpolate_pos_embedding"]:
        model.patch_embed.strict_img_size = False
    set_batch_norm_eps(model, given["batch_norm_eps"])
    return model


def build_official_block(config: Mapping[str, Any]) -> nn.Module:
    """Build one released block: (tokens, map of the previous block or None) to (tokens, map for the next block)."""
    given = complete("refined_block", config, BLOCK_DEFAULTS)
    slot = Slot(
        dim=given["dim"],
        num_heads=given["num_heads"],
        qkv_bias=given["qkv_bias"],
        attn_drop=given["attn_drop"],
        proj_drop=given["drop"],
    )
    refiner = {"expansion": given["head_expand"], "kernel_size": given["refinement_kernel"]}
    kind = _kind(given["share_atten"], given["apply_transform"])
    block = RefinedBlock(
        make_attention(kind, slot, refiner=refiner, sharing={}, qk_scale=given["qk_scale"]),
        mlp_ratio=given["mlp_ratio"],
        drop_path=given["drop_path"],
        norm_layer=partial(nn.LayerNorm, eps=given["layer_norm_eps"]),
    )
    set_batch_norm_eps(block, given["batch_norm_eps"])
    return block


def build_official_stem(config: Mapping[str, Any]) -> nn.Module:
    """Build Refined-ViT's convolutional patch embedding: image to feature map (B, D, h, w)."""
    given = complete("refined_vit_stem", config, STEM_DEFAULTS)
    stem = ConvolutionalStem(
        image_size(given["img_size"]),
        given["patch_size"],
        given["in_chans"],
        given["embed_dim"],
        widths=(32, 64, 128),
        flatten=False,
    )
    set_batch_norm_eps(stem, given["batch_norm_eps"])
    return stem


def _kind(shares: bool, applies: bool) -> str:
    if shares:
        return "sharing"
    return "refined" if applies else "plain"
