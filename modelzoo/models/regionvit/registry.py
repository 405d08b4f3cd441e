"""timm registry entries of RegionViT: eight models, Ti, S, M, B and, with windows of 14, S+ and B+.

Paper:   RegionViT: Regional-to-Local Attention for Vision Transformers, Chen et al. 2022, arXiv:2106.02689.
Source:  sizes and parameter counts of the released models (Apache-2.0); the network is in `model.py`.
Differs: a tiny model with windows of 14 is omitted: the release names it but has no configuration for it.
"""

from __future__ import annotations

from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from modelzoo.models.regionvit.model import RegionViT
from modelzoo.models.regionvit.state_dict_adapter import build_official, official_state, released_state

__all__ = [
    "RegionViT",
    "build_official",
    "official_state",
    "regionvit_base_224",
    "regionvit_base_w14_224",
    "regionvit_base_w14_peg_224",
    "regionvit_medium_224",
    "regionvit_small_224",
    "regionvit_small_w14_224",
    "regionvit_small_w14_peg_224",
    "regionvit_tiny_224",
]


def _cfg(first_conv: str) -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": None,
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": (first_conv, "cls_token.proj"),
        "classifier": "head",
        "license": "apache-2.0",
        "paper_ids": "arXiv:2106.02689",
        "paper_name": "RegionViT: Regional-to-Local Attention for Vision Transformers",
        "origin_url": "https://github.com/IBM/RegionViT",
    }


THREE_CONVS, ONE_CONV = "patch_embed.proj.0", "patch_embed.proj"

default_cfgs = generate_default_cfgs(
    {
        "regionvit_tiny_224.untrained": _cfg(THREE_CONVS),
        "regionvit_small_224.untrained": _cfg(THREE_CONVS),
        "regionvit_small_w14_224.untrained": _cfg(THREE_CONVS),
        "regionvit_small_w14_peg_224.untrained": _cfg(THREE_CONVS),
        "regionvit_medium_224.untrained": _cfg(ONE_CONV),
        "regionvit_base_224.untrained": _cfg(ONE_CONV),
        "regionvit_base_w14_224.untrained": _cfg(ONE_CONV),
        "regionvit_base_w14_peg_224.untrained": _cfg(ONE_CONV),
    }
)

SMALL = {"embed_dim": (96, 96, 192, 384, 768), "num_heads": (3, 6, 12, 24)}
MEDIUM = {**SMALL, "depths": (2, 2, 14, 2), "stem": "1conv"}
BASE = {"embed_dim": (128, 128, 256, 512, 1024), "num_heads": (4, 8, 16, 32), "depths": (2, 2, 14, 2), "stem": "1conv"}


def _create(variant: str, pretrained: bool, **kwargs: Any) -> RegionViT:
    return build_model_with_cfg(
        RegionViT,
        variant,
        pretrained,
        pretrained_filter_fn=released_state,
        feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter"},
        **kwargs,
    )


@register_model
def regionvit_tiny_224(pretrained: bool = False, **kwargs: Any) -> RegionViT:
    return _create("regionvit_tiny_224", pretrained, **kwargs)


@register_model
def regionvit_small_224(pretrained: bool = False, **kwargs: Any) -> RegionViT:
    return _create("regionvit_small_224", pretrained, **{**SMALL, **kwargs})


@register_model
def regionvit_small_w14_224(pretrained: bool = False, **kwargs: Any) -> RegionViT:
    """RegionViT-S+."""
    return _create("regionvit_small_w14_224", pretrained, **{**SMALL, "window_size": 14, **kwargs})


@register_model
def regionvit_small_w14_peg_224(pretrained: bool = False, **kwargs: Any) -> RegionViT:
    """RegionViT-S+ with PEG."""
    return _create("regionvit_small_w14_peg_224", pretrained, **{**SMALL, "window_size": 14, "peg": True, **kwargs})


@register_model
def regionvit_medium_224(pretrained: bool = False, **kwargs: Any) -> RegionViT:
    return _create("regionvit_medium_224", pretrained, **{**MEDIUM, **kwargs})


@register_model
def regionvit_base_224(pretrained: bool = False, **kwargs: Any) -> RegionViT:
    return _create("regionvit_base_224", pretrained, **{**BASE, **kwargs})


@register_model
def regionvit_base_w14_224(pretrained: bool = False, **kwargs: Any) -> RegionViT:
    """RegionViT-B+."""
    return _create("regionvit_base_w14_224", pretrained, **{**BASE, "window_size": 14, **kwargs})


@register_model
def regionvit_base_w14_peg_224(pretrained: bool = False, **kwargs: Any) -> RegionViT:
    """RegionViT-B+ with PEG."""
    return _create("regionvit_base_w14_peg_224", pretrained, **{**BASE, "window_size": 14, "peg": True, **kwargs})
