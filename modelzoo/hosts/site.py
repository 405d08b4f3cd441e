"""Replaceable attention position of a host model: the interface that every family of hosts implements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import nn

from modelzoo.attention import ATTENTION, Slot, TokenAttention

__all__ = ["AttentionSite", "make_mechanism"]


class AttentionSite(Protocol):
    """Attention site: one attention layer of a host that a mechanism can replace."""

    @property
    def weight(self) -> torch.Tensor:
        """A weight of the current attention, for the device and dtype of the site."""
        ...

    def why_not(self, name: str) -> str | None:
        """Reason why the mechanism `name` does not fit here, as the end of `... of MODEL, which `; None if it fits."""
        ...

    def put(self, name: str, options: Mapping[str, Any]) -> None:
        """Replace the attention by the mechanism, which takes over the linear layers that both have.

        Raises:
            SpecError: the mechanism does not fit the sizes.
        """
        ...


def make_mechanism(name: str, slot: Slot, options: Mapping[str, Any], like: nn.Linear) -> TokenAttention:
    """Build a mechanism with the dtype and training mode of a linear layer of the host."""
    return ATTENTION[name](slot, **options).to(dtype=like.weight.dtype).train(like.training)
