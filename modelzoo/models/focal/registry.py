"""timm registry entries of the Focal Transformer: nine models, T, S and B of three kinds.

Paper:   Focal Self-attention for Local-Global Interactions in Vision Transformers, Yang et al. 2021, arXiv:2107.00641.
Source:  sizes and parameter counts of the released models (MIT); the network is in `model.py`.
Differs: no weights are provided. `focal_*` is version 1, `focal_*_conv_*` the same with overlapping convolutions as
         stem and between stages, `focalv2_*_conv_*` version 2 ("Focal-fast") with the 128 nearest keys of each level.
"""

from __future__ import annotations

from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from modelzoo.models.focal.model import FocalTransformer
from modelzoo.models.focal.state_dict_adapter import build_official, official_state, released_state

__all__ = [
    "FocalTransformer",
    "build_official",
    "focal_base_conv_patch4_window7_224",
    "focal_base_patch4_window7_224",
    "focal_small_conv_patch4_window7_224",
    "focal_small_patch4_window7_224",
    "focal_tiny_conv_patch4_window7_224",
    "focal_tiny_patch4_window7_224",
    "focalv2_base_conv_patch4_window7_224",
    "focalv2_small_conv_patch4_window7_224",
    "focalv2_tiny_conv_patch4_window7_224",
    "official_state",
]


def _cfg() -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "fixed_input_size": True,
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        "license": "mit",
        "paper_ids": "arXiv:2107.00641",
        "paper_name": "Focal Self-attention for Local-Global Interactions in Vision Transformers",
        "origin_url": "https://github.com/microsoft/Focal-Transformer",
    }


default_cfgs = generate_default_cfgs(
    {
        "focal_tiny_patch4_window7_224.untrained": _cfg(),
        "focal_small_patch4_window7_224.untrained": _cfg(),
        "focal_base_patch4_window7_224.untrained": _cfg(),
        "focal_tiny_conv_patch4_window7_224.untrained": _cfg(),
        "focal_small_conv_patch4_window7_224.untrained": _cfg(),
        "focal_base_conv_patch4_window7_224.untrained": _cfg(),
        "focalv2_tiny_conv_patch4_window7_224.untrained": _cfg(),
        "focalv2_small_conv_patch4_window7_224.untrained": _cfg(),
        "focalv2_base_conv_patch4_window7_224.untrained": _cfg(),
    }
)

TINY = {"embed_dim": 96, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24)}
SMALL = {"embed_dim": 96, "depths": (2, 2, 18, 2), "num_heads": (3, 6, 12, 24)}
BASE = {"embed_dim": 128, "depths": (2, 2, 18, 2), "num_heads": (4, 8, 16, 32)}
CONV = {"conv_embed": True}
FAST = {"conv_embed": True, "num_nearest_keys": 128}


def _create(variant: str, pretrained: bool, **kwargs: Any) -> FocalTransformer:
    stages = tuple(range(len(kwargs["depths"])))
    return build_model_with_cfg(
        FocalTransformer,
        variant,
        pretrained,
        pretrained_filter_fn=released_state,
        feature_cfg={"out_indices": kwargs.pop("out_indices", stages), "feature_cls": "getter"},
        **kwargs,
    )


@register_model
def focal_tiny_patch4_window7_224(pretrained: bool = False, **kwargs: Any) -> FocalTransformer:
    return _create("focal_tiny_patch4_window7_224", pretrained, **{**TINY, **kwargs})


@register_model
def focal_small_patch4_window7_224(pretrained: bool = False, **kwargs: Any) -> FocalTransformer:
    return _create("focal_small_patch4_window7_224", pretrained, **{**SMALL, **kwargs})


@register_model
def focal_base_patch4_window7_224(pretrained: bool = False, **kwargs: Any) -> FocalTransformer:
    return _create("focal_base_patch4_window7_224", pretrained, **{**BASE, **kwargs})


@register_model
def focal_tiny_conv_patch4_window7_224(pretrained: bool = False, **kwargs: Any) -> FocalTransformer:
    return _create("focal_tiny_conv_patch4_window7_224", pretrained, **{**TINY, **CONV, **kwargs})


@register_model
def focal_small_conv_patch4_window7_224(pretrained: bool = False, **kwargs: Any) -> FocalTransformer:
    return _create("focal_small_conv_patch4_window7_224", pretrained, **{**SMALL, **CONV, **kwargs})


@register_model
def focal_base_conv_patch4_window7_224(pretrained: bool = False, **kwargs: Any) -> FocalTransformer:
    return _create("focal_base_conv_patch4_window7_224", pretrained, **{**BASE, **CONV, **kwargs})


@register_model
def focalv2_tiny_conv_patch4_window7_224(pretrained: bool = False, **kwargs: Any) -> FocalTransformer:
    return _create("focalv2_tiny_conv_patch4_window7_224", pretrained, **{**TINY, **FAST, **kwargs})


@register_model
def focalv2_small_conv_patch4_window7_224(pretrained: bool = False, **kwargs: Any) -> FocalTransformer:
    return _create("focalv2_small_conv_patch4_window7_224", pretrained, **{**SMALL, **FAST, **kwargs})


@register_model
def focalv2_base_conv_patch4_window7_224(pretrained: bool = False, **kwargs: Any) -> FocalTransformer:
    return _create("focalv2_base_conv_patch4_window7_224", pretrained, **{**BASE, **FAST, **kwargs})
