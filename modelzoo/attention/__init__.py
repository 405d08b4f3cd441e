"""Attention mechanisms: one file each, and the table of their names.

`search_space.schema.attention.ATTENTION_SPECS` has the same names and options; a contract test keeps both consistent.
"""

from __future__ import annotations

from modelzoo.attention.contract import Slot, TokenAttention
from modelzoo.attention.groupmix import GroupMixAttention
from modelzoo.attention.reattention import Reattention
from modelzoo.attention.refiner import RefinedAttention
from modelzoo.attention.softmax import SoftmaxAttention

__all__ = ["ATTENTION", "Slot", "TokenAttention"]

ATTENTION: dict[str, type[TokenAttention]] = {
    "groupmix": GroupMixAttention,
    "reattention": Reattention,
    "refiner": RefinedAttention,
    "softmax": SoftmaxAttention,
}
