"""timm registry entries of LG-Transformer: two sizes; `model.py` lists what is inferred from the paper.

Paper:   Local-to-Global Self-Attention in Vision Transformers, Li et al. 2021, arXiv:2107.04735.
"""

from __future__ import annotations

from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from modelzoo.models.lg_transformer.model import LGTransformer
from modelzoo.models.resampled_positions import with_resampled_tables

__all__ = ["LGTransformer", "lg_transformer_small_224", "lg_transformer_tiny_224"]


def _cfg() -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "fixed_input_size": True,
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "patch_embed.proj",
        "classifier": "head.fc",
        "paper_ids": "arXiv:2107.04735",
        "paper_name": "Local-to-Global Self-Attention in Vision Transformers",
    }


default_cfgs = generate_default_cfgs(
    {
        "lg_transformer_tiny_224.untrained": _cfg(),
        "lg_transformer_small_224.untrained": _cfg(),
    }
)


def _create(variant: str, pretrained: bool, **kwargs: Any) -> LGTransformer:
    return build_model_with_cfg(
        LGTransformer,
        variant,
        pretrained,
        pretrained_filter_fn=with_resampled_tables,
        feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter"},
        **kwargs,
    )


@register_model
def lg_transformer_tiny_224(pretrained: bool = False, **kwargs: Any) -> LGTransformer:
    """LG-T, our interpretation."""
    return _create("lg_transformer_tiny_224", pretrained, **kwargs)


@register_model
def lg_transformer_small_224(pretrained: bool = False, **kwargs: Any) -> LGTransformer:
    """LG-S, our interpretation."""
    return _create("lg_transformer_small_224", pretrained, **{"depths": (2, 2, 18, 2), **kwargs})
