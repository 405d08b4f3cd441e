"""The zoo: an architecture's description becomes a module, and its cost is known before anything runs."""

from __future__ import annotations

from modelzoo.attention import ATTENTION, Slot, TokenAttention
from modelzoo.batchnorms import attention_batchnorms
from modelzoo.build import build_model, resolve_img_size
from modelzoo.cost import Cost, measure_cost

__all__ = [
    "ATTENTION",
    "Cost",
    "Slot",
    "TokenAttention",
    "attention_batchnorms",
    "build_model",
    "measure_cost",
    "resolve_img_size",
]
