"""timm registry entries of Refined-ViT: S, M and L as released at three image sizes, and in the paper's layout.

Paper:   Refiner: Refining Self-attention for Vision Transformers, Zhou et al. 2021, arXiv:2106.03714.
Source:  sizes and parameter counts of the released models (whose code has no licence); the network is in `model.py`.
Differs: no weights are provided. `*_every_block_*` refines the attention of every block, as in the paper's text, at the
         released sizes and without a dense head; the released counts belong to the other layout.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from modelzoo.models.refined_vit.model import RefinedVisionTransformer
from modelzoo.models.resampled_positions import with_resampled_positions

__all__ = [
    "RefinedVisionTransformer",
    "refined_vit_large_every_block_patch16_224",
    "refined_vit_large_patch16_224",
    "refined_vit_large_patch16_384",
    "refined_vit_large_patch16_448",
    "refined_vit_medium_every_block_patch16_224",
    "refined_vit_medium_patch16_224",
    "refined_vit_medium_patch16_384",
    "refined_vit_medium_patch16_448",
    "refined_vit_small_every_block_patch16_224",
    "refined_vit_small_patch16_224",
    "refined_vit_small_patch16_384",
    "refined_vit_small_patch16_448",
]


def _cfg(side: int, crop_pct: float) -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, side, side),
        "fixed_input_size": True,
        "pool_size": None,
        # Above 1 (L): the image is resized to less than the input size and padded with black.
        "crop_pct": crop_pct,
        "interpolation": "bicubic",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "first_conv": "patch_embed.conv1",
        "classifier": ("head", "aux_head"),
        "paper_ids": "arXiv:2106.03714",
        "paper_name": "Refiner: Refining Self-attention for Vision Transformers",
        "origin_url": "https://github.com/zhoudaquan/Refiner_ViT",
    }


default_cfgs = generate_default_cfgs(
    {
        "refined_vit_small_patch16_224.untrained": _cfg(224, 0.9),
        "refined_vit_small_patch16_384.untrained": _cfg(384, 0.9),
        "refined_vit_small_patch16_448.untrained": _cfg(448, 0.9),
        "refined_vit_medium_patch16_224.untrained": _cfg(224, 1.0),
        "refined_vit_medium_patch16_384.untrained": _cfg(384, 1.0),
        "refined_vit_medium_patch16_448.untrained": _cfg(448, 1.0),
        "refined_vit_large_patch16_224.untrained": _cfg(224, 1.13),
        "refined_vit_large_patch16_384.untrained": _cfg(384, 1.13),
        "refined_vit_large_patch16_448.untrained": _cfg(448, 1.13),
        "refined_vit_small_every_block_patch16_224.untrained": _cfg(224, 0.9),
        "refined_vit_medium_every_block_patch16_224.untrained": _cfg(224, 1.0),
        "refined_vit_large_every_block_patch16_224.untrained": _cfg(224, 1.13),
    }
)

SMALL = {"patch_size": 16, "embed_dim": 384, "depth": 16, "num_heads": 12, "mlp_ratio": 3.0}
MEDIUM = {**SMALL, "embed_dim": 420, "depth": 32}
LARGE = {**SMALL, "embed_dim": 512, "depth": 32, "num_heads": 16}
EVERY = {"layout": "every", "dense_head": False, "mix_token": False}


def _create(variant: str, pretrained: bool, **kwargs: Any) -> RefinedVisionTransformer:
    # timm uses these names to adapt weights to other channels and classes, so they must be correct for the options.
    overlay = dict(kwargs.pop("pretrained_cfg_overlay", None) or {})
    if not kwargs.get("dense_head", True):
        overlay["classifier"] = "head"
    if kwargs.get("stem") == "linear":
        overlay["first_conv"] = "patch_embed.proj"
    return build_model_with_cfg(
        RefinedVisionTransformer,
        variant,
        pretrained,
        pretrained_cfg_overlay=overlay,
        pretrained_filter_fn=with_resampled_positions,
        feature_cfg={"out_indices": kwargs.pop("out_indices", 3), "feature_cls": "getter"},
        **kwargs,
    )


@register_model
def refined_vit_small_patch16_224(pretrained: bool = False, **kwargs: Any) -> RefinedVisionTransformer:
    return _create("refined_vit_small_patch16_224", pretrained, **{**SMALL, **kwargs})


@register_model
def refined_vit_small_patch16_384(pretrained: bool = False, **kwargs: Any) -> RefinedVisionTransformer:
    return _create("refined_vit_small_patch16_384", pretrained, **{**SMALL, "img_size": 384, **kwargs})


@register_model
def refined_vit_small_patch16_448(pretrained: bool = False, **kwargs: Any) -> RefinedVisionTransformer:
    return _create("refined_vit_small_patch16_448", pretrained, **{**SMALL, "img_size": 448, **kwargs})


@register_model
def refined_vit_medium_patch16_224(pretrained: bool = False, **kwargs: Any) -> RefinedVisionTransformer:
    return _create("refined_vit_medium_patch16_224", pretrained, **{**MEDIUM, **kwargs})


@register_model
def refined_vit_medium_patch16_384(pretrained: bool = False, **kwargs: Any) -> RefinedVisionTransformer:
    return _create("refined_vit_medium_patch16_384", pretrained, **{**MEDIUM, "img_size": 384, **kwargs})


@register_model
def refined_vit_medium_patch16_448(pretrained: bool = False, **kwargs: Any) -> RefinedVisionTransformer:
    return _create("refined_vit_medium_patch16_448", pretrained, **{**MEDIUM, "img_size": 448, **kwargs})


@register_model
def refined_vit_large_patch16_224(pretrained: bool = False, **kwargs: Any) -> RefinedVisionTransformer:
    return _create("refined_vit_large_patch16_224", pretrained, **{**LARGE, **kwargs})


@register_model
def refined_vit_large_patch16_384(pretrained: bool = False, **kwargs: Any) -> RefinedVisionTransformer:
    return _create("refined_vit_large_patch16_384", pretrained, **{**LARGE, "img_size": 384, **kwargs})


@register_model
def refined_vit_large_patch16_448(pretrained: bool = False, **kwargs: Any) -> RefinedVisionTransformer:
    return _create("refined_vit_large_patch16_448", pretrained, **{**LARGE, "img_size": 448, **kwargs})


@register_model
def refined_vit_small_every_block_patch16_224(pretrained: bool = False, **kwargs: Any) -> RefinedVisionTransformer:
    """Paper's layout at the size of S."""
    return _create("refined_vit_small_every_block_patch16_224", pretrained, **{**SMALL, **EVERY, **kwargs})


@register_model
def refined_vit_medium_every_block_patch16_224(pretrained: bool = False, **kwargs: Any) -> RefinedVisionTransformer:
    """Paper's layout at the size of M."""
    return _create("refined_vit_medium_every_block_patch16_224", pretrained, **{**MEDIUM, **EVERY, **kwargs})


@register_model
def refined_vit_large_every_block_patch16_224(pretrained: bool = False, **kwargs: Any) -> RefinedVisionTransformer:
    """Paper's layout at the size of L."""
    return _create("refined_vit_large_every_block_patch16_224", pretrained, **{**LARGE, **EVERY, **kwargs})
