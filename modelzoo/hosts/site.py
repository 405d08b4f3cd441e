"""A place of attention in a host: what every family of hosts must tell about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import nn

from modelzoo.attention import ATTENTION, Slot, TokenAttention

__all__ = ["AttentionSite", "make_mechanism"]


class AttentionSite(Protocol):
    """One attention of a host."""

    @property
    def weight(self) -> torch.Tensor:
        """A weight of the present attention: its device and dtype are those of the site."""
        ...

    def why_not(self, name: str) -> str | None:
        """What speaks against the mechanism `name` here, as the end of `... of MODEL, which `; None: nothing."""
        ...

    def put(self, name: str, options: Mapping[str, Any]) -> None:
        """Replaces the attention by the mechanism; linears that both have move into it.

        Raises:
            SpecError: the mechanism does not fit the sizes.
        """
        ...


def make_mechanism(name: str, slot: Slot, options: Mapping[str, Any], like: nn.Linear) -> TokenAttention:
    """The mechanism, new, with the dtype and mode of a linear of the host."""
    return ATTENTION[name](slot, **options).to(dtype=like.weight.dtype).train(like.training)
