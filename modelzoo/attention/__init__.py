"""Attention mechanisms: one file each, and the table of their names.

`search_space.schema.attention.ATTENTION_SPECS` has the same names and options; a contract test keeps both consistent.
Mechanisms of plug-ins are in both as soon as the plug-in is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping

from modelzoo.attention.contract import Slot, TokenAttention
from modelzoo.attention.groupmix import GroupMixAttention
from modelzoo.attention.reattention import Reattention
from modelzoo.attention.refiner import RefinedAttention
from modelzoo.attention.softmax import SoftmaxAttention
from search_space.plugins.families import extended

__all__ = ["ATTENTION", "Slot", "TokenAttention"]

ATTENTION: Mapping[str, type[TokenAttention]] = extended(
    "attention",
    {
        "groupmix": GroupMixAttention,
        "reattention": Reattention,
        "refiner": RefinedAttention,
        "softmax": SoftmaxAttention,
    },
)
