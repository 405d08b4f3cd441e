"""Model zoo: builds modules from architecture specs and computes their cost without allocating weights."""

from __future__ import annotations

from modelzoo.attention import ATTENTION, Slot, TokenAttention
from modelzoo.attention.contract import attention_batchnorms
from modelzoo.factory.build import build_model, resolve_img_size
from modelzoo.factory.catalog import AttentionEntry, AttentionOption, attention_catalog, available_models
from modelzoo.factory.cost import Cost, measure_cost
from modelzoo.official.official import from_official

__all__ = [
    "ATTENTION",
    "AttentionEntry",
    "AttentionOption",
    "Cost",
    "Slot",
    "TokenAttention",
    "attention_batchnorms",
    "attention_catalog",
    "available_models",
    "build_model",
    "from_official",
    "measure_cost",
    "resolve_img_size",
]
