"""Stacked layers: one layer that computes what K equal layers of K models compute, each with weights of its own.

A stacked layer has the parameters, buffers and children of the single layer, under the same names, every tensor with a
first axis of K members. So a member's weights are those of the single model, by their names, at one index.

A subclass says what it computes and what it does not: `reason` is asked before anything is stacked, and only layers of
exactly the types of `table.py` are. Tokens are (K, B, N, D). Maps and images have the members among their channels,
(B, K * C, h, w), because convolutions and BatchNorms keep channels apart by themselves.

Shapes:  K members, B images, N tokens, D dim, C channels of a member, h x w pixels or pairs of tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from modelzoo.stacked.streams import Streams

__all__ = ["Building", "SameForAll", "StackedLayer"]


class Building:
    """What the layers of one stack are built with.

    Attributes:
        streams: the members' random numbers, which every layer that draws shares.
    """

    def __init__(self, table: Mapping[type[nn.Module], type[StackedLayer]], streams: Streams) -> None:
        self._table = table
        self.streams = streams

    def stacked(self, members: Sequence[nn.Module]) -> StackedLayer:
        """One layer for the layers of K models at the same place."""
        return self._table[type(members[0])](members, self)


class StackedLayer(nn.Module):
    """Base of stacked layers: stacks parameters and buffers, and the children by the table.

    Attributes:
        num_members: K, including a row that only fills up.
        may_lack: parameters and children that are None in some single layers.
    """

    may_lack: ClassVar[tuple[str, ...]] = ()

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__()
        first = members[0]
        for name, parameter in first.named_parameters(recurse=False):
            parts = [each.get_parameter(name).detach() for each in members]
            self.register_parameter(name, nn.Parameter(torch.stack(parts), requires_grad=parameter.requires_grad))
        saved = first.state_dict()
        for name, buffer in first.named_buffers(recurse=False):
            parts = [each.get_buffer(name) for each in members]
            assert buffer is not None
            self.register_buffer(name, torch.stack(parts), persistent=name in saved)
        for name, _ in first.named_children():
            self.add_module(name, building.stacked([each.get_submodule(name) for each in members]))
        for name in self.may_lack:
            if getattr(first, name) is None:
                setattr(self, name, None)
        self.num_members = len(members)
        self.training = first.training

    @staticmethod
    def reason(layer: nn.Module) -> str | None:
        """Why this single layer is not covered, as a part of a sentence (`uses ...`); None if it is."""
        return None

    def keep(self, rows: Sequence[int]) -> None:
        """Keep what belongs to these members and is neither parameter nor buffer, in this order."""
        self.num_members = len(rows)


class SameForAll(StackedLayer):
    """The single layer itself, where it has neither weights nor random numbers: what it does to one it does to all."""

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        # Not registered: it has no state, and a child would be looked for in the single model.
        self._layer = members[0].forward

    @staticmethod
    def reason(layer: nn.Module) -> str | None:
        return "changes its input in place" if getattr(layer, "inplace", False) else None

    def forward(self, x: Tensor) -> Tensor:
        return self._layer(x)
