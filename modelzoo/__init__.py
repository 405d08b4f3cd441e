"""Model zoo: builds modules from architecture specs and computes their cost without allocating weights."""

from __future__ import annotations

from modelzoo.attention import ATTENTION, Slot, TokenAttention
from modelzoo.attention.contract import attention_batchnorms
from modelzoo.factory.build import build_model, notes_on_host, resolve_img_size
from modelzoo.factory.cost import Cost, measure_cost
from modelzoo.factory.other_size import at_size, evaluation_crop, evaluation_interpolation, published_normalisation
from modelzoo.factory.timm_models import available_models
from modelzoo.official.official import from_official

__all__ = [
    "ATTENTION",
    "Cost",
    "Slot",
    "TokenAttention",
    "at_size",
    "attention_batchnorms",
    "available_models",
    "build_model",
    "evaluation_crop",
    "evaluation_interpolation",
    "from_official",
    "measure_cost",
    "notes_on_host",
    "published_normalisation",
    "resolve_img_size",
]
