"""timm registry entries of GroupMixFormer: five models, M (mobile), T, S, B and L.

Paper:   Advancing Vision Transformers with Group-Mix Attention, Ge et al. 2023, arXiv:2311.15157.
Source:  the released configurations (MIT), drop path rates included; the network is in `model.py`.
Differs: no weights are provided. L is the released configuration, 71.8M parameters; the published count is 70.3M.
"""

from __future__ import annotations

from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from modelzoo.models.groupmixformer.model import GroupMixFormer

__all__ = [
    "GroupMixFormer",
    "groupmixformer_base_224",
    "groupmixformer_large_224",
    "groupmixformer_mobile_224",
    "groupmixformer_small_224",
    "groupmixformer_tiny_224",
]


def _cfg() -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "conv_stem.proj1",
        "classifier": "head",
        "license": "mit",
        "paper_ids": "arXiv:2311.15157",
        "paper_name": "Advancing Vision Transformers with Group-Mix Attention",
        "origin_url": "https://github.com/AILab-CVC/GroupMixFormer",
    }


default_cfgs = generate_default_cfgs(
    {
        "groupmixformer_mobile_224.untrained": _cfg(),
        "groupmixformer_tiny_224.untrained": _cfg(),
        "groupmixformer_small_224.untrained": _cfg(),
        "groupmixformer_base_224.untrained": _cfg(),
        "groupmixformer_large_224.untrained": _cfg(),
    }
)

MOBILE = {
    "embed_dims": (40, 80, 160, 160),
    "depths": (3, 3, 12, 4),
    "mlp_ratios": (4, 4, 4, 4),
    "drop_path_rate": 0.1,
}
TINY = {
    "embed_dims": (80, 160, 200, 240),
    "depths": (4, 4, 12, 4),
    "mlp_ratios": (4, 4, 4, 4),
    "drop_path_rate": 0.1,
}
SMALL = {
    "embed_dims": (80, 160, 320, 320),
    "depths": (2, 4, 12, 4),
    "mlp_ratios": (4, 4, 4, 4),
    "drop_path_rate": 0.2,
}
BASE = {
    "embed_dims": (200, 240, 320, 480),
    "depths": (8, 8, 12, 8),
    "mlp_ratios": (2, 2, 4, 4),
    "drop_path_rate": 0.5,
}
LARGE = {
    "embed_dims": (240, 320, 360, 480),
    "depths": (8, 10, 30, 10),
    "mlp_ratios": (4, 4, 2, 2),
    "drop_path_rate": 0.1,
}


def _create(variant: str, pretrained: bool, **kwargs: Any) -> GroupMixFormer:
    stages = tuple(range(len(kwargs["depths"])))
    return build_model_with_cfg(
        GroupMixFormer,
        variant,
        pretrained,
        feature_cfg={"out_indices": kwargs.pop("out_indices", stages), "feature_cls": "getter"},
        **kwargs,
    )


@register_model
def groupmixformer_mobile_224(pretrained: bool = False, **kwargs: Any) -> GroupMixFormer:
    return _create("groupmixformer_mobile_224", pretrained, **{**MOBILE, **kwargs})


@register_model
def groupmixformer_tiny_224(pretrained: bool = False, **kwargs: Any) -> GroupMixFormer:
    return _create("groupmixformer_tiny_224", pretrained, **{**TINY, **kwargs})


@register_model
def groupmixformer_small_224(pretrained: bool = False, **kwargs: Any) -> GroupMixFormer:
    return _create("groupmixformer_small_224", pretrained, **{**SMALL, **kwargs})


@register_model
def groupmixformer_base_224(pretrained: bool = False, **kwargs: Any) -> GroupMixFormer:
    return _create("groupmixformer_base_224", pretrained, **{**BASE, **kwargs})


@register_model
def groupmixformer_large_224(pretrained: bool = False, **kwargs: Any) -> GroupMixFormer:
    return _create("groupmixformer_large_224", pretrained, **{**LARGE, **kwargs})
