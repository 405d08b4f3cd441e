"""K models of one shape trained as one: what can be stacked, and the stack."""

from __future__ import annotations

from modelzoo.stacked.bits import bits_depend_on_group
from modelzoo.stacked.reasons import reason_not_stackable
from modelzoo.stacked.stacked import Stacked

__all__ = ["Stacked", "bits_depend_on_group", "reason_not_stackable"]
