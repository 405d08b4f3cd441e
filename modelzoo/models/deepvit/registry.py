"""timm registry entries of DeepViT: the released models and the plain ViTs they were compared with.

Paper:   DeepViT: Towards Deeper Vision Transformer, Zhou et al. 2021, arXiv:2103.11886.
Source:  sizes and parameter counts of the released models (MIT); the network is in `model.py`.
Differs: no weights are provided. The models of 12 blocks are from the paper, not from the release. The baselines have
         timm's attention in all blocks, with 12 heads and MLP ratio 3; they are not DeiT-S (6 heads, ratio 4).
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from modelzoo.models.deepvit.model import DeepVisionTransformer
from modelzoo.models.resampled_positions import with_resampled_positions

__all__ = [
    "DeepVisionTransformer",
    "deepvit_12b_patch16_224",
    "deepvit_16b_patch16_224",
    "deepvit_24b_patch16_224",
    "deepvit_32b_patch16_224",
    "deepvit_baseline_12b_patch16_224",
    "deepvit_baseline_16b_patch16_224",
    "deepvit_baseline_24b_patch16_224",
    "deepvit_baseline_32b_patch16_224",
    "deepvit_large_patch16_224",
    "deepvit_large_patch16_384",
    "deepvit_small_patch16_224",
]


CONV, LINEAR = "patch_embed.conv1", "patch_embed.proj"


def _cfg(first_conv: str = LINEAR, **changes: Any) -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "fixed_input_size": True,
        "pool_size": None,
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "first_conv": first_conv,
        "classifier": "head",
        "license": "mit",
        "paper_ids": "arXiv:2103.11886",
        "paper_name": "DeepViT: Towards Deeper Vision Transformer",
        "origin_url": "https://github.com/zhoudaquan/dvit_repo",
        **changes,
    }


default_cfgs = generate_default_cfgs(
    {
        "deepvit_12b_patch16_224.untrained": _cfg(),
        "deepvit_16b_patch16_224.untrained": _cfg(),
        "deepvit_24b_patch16_224.untrained": _cfg(),
        "deepvit_32b_patch16_224.untrained": _cfg(),
        "deepvit_small_patch16_224.untrained": _cfg(CONV),
        "deepvit_large_patch16_224.untrained": _cfg(CONV),
        "deepvit_large_patch16_384.untrained": _cfg(CONV, input_size=(3, 384, 384), crop_pct=1.0),
        "deepvit_baseline_12b_patch16_224.untrained": _cfg(),
        "deepvit_baseline_16b_patch16_224.untrained": _cfg(),
        "deepvit_baseline_24b_patch16_224.untrained": _cfg(),
        "deepvit_baseline_32b_patch16_224.untrained": _cfg(),
    }
)

PURE = {"patch_size": 16, "embed_dim": 384, "num_heads": 12, "mlp_ratio": 3.0}
PLAIN = {**PURE, "reattention_blocks": 0}
SMALL = {
    **PURE,
    "embed_dim": 396,
    "depth": 16,
    "reattention_blocks": 5,
    "transform_scale": True,
    "residual_scale": 0.5,
    "stem": "conv",
}
LARGE = {**PURE, "embed_dim": 420, "depth": 32, "reattention_blocks": 12, "residual_scale": 0.5, "stem": "conv"}


def _create(variant: str, pretrained: bool, **kwargs: Any) -> DeepVisionTransformer:
    # timm uses this name to adapt weights to other input channels, so it must be correct for the stem.
    overlay = dict(kwargs.pop("pretrained_cfg_overlay", None) or {})
    overlay["first_conv"] = CONV if kwargs.get("stem") == "conv" else LINEAR
    return build_model_with_cfg(
        DeepVisionTransformer,
        variant,
        pretrained,
        pretrained_cfg_overlay=overlay,
        pretrained_filter_fn=with_resampled_positions,
        feature_cfg={"out_indices": kwargs.pop("out_indices", 3), "feature_cls": "getter"},
        **kwargs,
    )


@register_model
def deepvit_12b_patch16_224(pretrained: bool = False, **kwargs: Any) -> DeepVisionTransformer:
    return _create("deepvit_12b_patch16_224", pretrained, **{**PURE, "depth": 12, **kwargs})


@register_model
def deepvit_16b_patch16_224(pretrained: bool = False, **kwargs: Any) -> DeepVisionTransformer:
    return _create("deepvit_16b_patch16_224", pretrained, **{**PURE, "depth": 16, **kwargs})


@register_model
def deepvit_24b_patch16_224(pretrained: bool = False, **kwargs: Any) -> DeepVisionTransformer:
    return _create("deepvit_24b_patch16_224", pretrained, **{**PURE, "depth": 24, **kwargs})


@register_model
def deepvit_32b_patch16_224(pretrained: bool = False, **kwargs: Any) -> DeepVisionTransformer:
    return _create("deepvit_32b_patch16_224", pretrained, **{**PURE, "depth": 32, **kwargs})


@register_model
def deepvit_small_patch16_224(pretrained: bool = False, **kwargs: Any) -> DeepVisionTransformer:
    return _create("deepvit_small_patch16_224", pretrained, **{**SMALL, **kwargs})


@register_model
def deepvit_large_patch16_224(pretrained: bool = False, **kwargs: Any) -> DeepVisionTransformer:
    return _create("deepvit_large_patch16_224", pretrained, **{**LARGE, **kwargs})


@register_model
def deepvit_large_patch16_384(pretrained: bool = False, **kwargs: Any) -> DeepVisionTransformer:
    return _create("deepvit_large_patch16_384", pretrained, **{**LARGE, "img_size": 384, **kwargs})


@register_model
def deepvit_baseline_12b_patch16_224(pretrained: bool = False, **kwargs: Any) -> DeepVisionTransformer:
    """Plain ViT of the paper with 12 blocks."""
    return _create("deepvit_baseline_12b_patch16_224", pretrained, **{**PLAIN, "depth": 12, **kwargs})


@register_model
def deepvit_baseline_16b_patch16_224(pretrained: bool = False, **kwargs: Any) -> DeepVisionTransformer:
    """Plain ViT of the paper with 16 blocks."""
    return _create("deepvit_baseline_16b_patch16_224", pretrained, **{**PLAIN, "depth": 16, **kwargs})


@register_model
def deepvit_baseline_24b_patch16_224(pretrained: bool = False, **kwargs: Any) -> DeepVisionTransformer:
    """Plain ViT of the paper with 24 blocks."""
    return _create("deepvit_baseline_24b_patch16_224", pretrained, **{**PLAIN, "depth": 24, **kwargs})


@register_model
def deepvit_baseline_32b_patch16_224(pretrained: bool = False, **kwargs: Any) -> DeepVisionTransformer:
    """Plain ViT of the paper with 32 blocks."""
    return _create("deepvit_baseline_32b_patch16_224", pretrained, **{**PLAIN, "depth": 32, **kwargs})
