"""Models stacked for training: K models of one shape, each with weights, statistics and random numbers of its own.

What a member computes is what it would compute alone, but for the last digits: matrix products of K models are made in
one call. A member's digits do not depend on how many members there are, nor on what they are, as long as there are two
rows; so a lone member gets a row that only fills up, which no output, mask or selection ever shows.

Shapes:  K members, B images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Generator, Tensor, nn

from modelzoo.attention.contract import Slot
from modelzoo.stacked.layer import Building, StackedLayer
from modelzoo.stacked.maps import StackedBatchNorm2d
from modelzoo.stacked.streams import Streams
from modelzoo.stacked.table import LAYERS
from modelzoo.stacked.vision_transformer import StackedVisionTransformer

__all__ = ["Stacked"]

_FEWEST_ROWS = 2
_RATES = ("p", "drop_prob")
"""Settings in which members may differ."""


class Stacked(StackedVisionTransformer):
    """Members of one shape as one module, whose parameters and buffers have the single model's names.

    Args:
        models: the members, for which `reason_not_stackable` is None; they differ in nothing but their weights and the
            rates of dropouts that all of them have. They are copied.
        generators: of the members' dropouts, on the device of the model.

    Attributes:
        size: number of members. Parameters have a row more where there is only one.
    """

    def __init__(self, models: Sequence[nn.Module], *, generators: Sequence[Generator]) -> None:
        if len(models) != len(generators) or not models:
            raise ValueError(f"{len(models)} models and {len(generators)} generators, of which there must be as many")
        _check_alike(models)
        rows = _rows(len(models))
        streams = Streams(generators, len(rows))
        super().__init__([models[row] for row in rows], Building(LAYERS, streams))
        self.size = len(models)
        self._streams = streams

    @property
    def generators(self) -> list[Generator]:
        """The members' generators."""
        return self._streams.generators

    @property
    def batchnorms(self) -> list[StackedBatchNorm2d]:
        """BatchNorms of all members, in the order of the layers; they are all inside attention."""
        return [layer for layer in self.modules() if isinstance(layer, StackedBatchNorm2d)]

    def forward(self, x_KBCHW: Tensor) -> Tensor:
        """Logits (K, B, classes) of every member's images (K, B, C, H, W)."""
        if len(x_KBCHW) != self.size:
            raise ValueError(f"images for {len(x_KBCHW)} members, but there are {self.size}")
        if self.num_members == self.size:
            return super().forward(x_KBCHW)
        return super().forward(x_KBCHW.expand(self.num_members, *x_KBCHW.shape[1:]))[: self.size]

    def member_state(self, member: int) -> dict[str, Tensor]:
        """State dict of a member: keys and shapes of the single model, copied."""
        row = range(self.size)[member]
        return {name: value[row].clone(memory_format=torch.contiguous_format) for name, value in self._rows_by_name()}

    @torch.no_grad()
    def load_member_state(self, member: int, state: Mapping[str, Tensor]) -> None:
        """Give a member the weights of a single model.

        Raises:
            KeyError, ValueError: names or shapes do not fit; nothing is loaded then.
        """
        row = range(self.size)[member]
        ours = {name: value[row] for name, value in self._rows_by_name()}
        if ours.keys() != state.keys():
            raise KeyError(f"a state with other names: {sorted(ours.keys() ^ state.keys())}")
        if wrong := [name for name, value in ours.items() if value.shape != state[name].shape]:
            raise ValueError(f"a state with other shapes: {wrong}")
        for name, value in ours.items():
            value.copy_(state[name])

    @torch.no_grad()
    def select(self, members: Sequence[int]) -> None:
        """Keep these members only, in this order, in place; gradients are dropped.

        Parameters stay the same objects, with fewer rows.
        """
        kept = [range(self.size)[member] for member in members]
        if not kept or len(set(kept)) < len(kept):
            raise ValueError(f"members {list(members)} of {self.size}: choose some, each once")
        rows = [kept[row] for row in _rows(len(kept))]
        for layer in self.modules():
            assert isinstance(layer, StackedLayer)
            for parameter in layer.parameters(recurse=False):
                parameter.grad = None
                parameter.data = parameter.data[rows]
            for name, buffer in layer.named_buffers(recurse=False):
                setattr(layer, name, buffer[rows])
            layer.keep(rows)
        self._streams.keep(kept, len(rows))
        self.size = len(kept)

    def _rows_by_name(self) -> list[tuple[str, Tensor]]:
        return [(name, value.detach()) for name, value in self.state_dict().items()]


def _rows(size: int) -> range | list[int]:
    """Member of every row: a lone one has a second row."""
    return range(size) if size >= _FEWEST_ROWS else [0] * _FEWEST_ROWS


def _check_alike(models: Sequence[nn.Module]) -> None:
    first = _layers_of(models[0])
    for other in models[1:]:
        theirs = _layers_of(other)
        if different := [name for name in first.keys() | theirs.keys() if first.get(name) != theirs.get(name)]:
            raise ValueError(
                f"models that differ are not stacked; they do in {', '.join(map(repr, sorted(different)))}"
            )


def _layers_of(model: nn.Module) -> dict[str, object]:
    """Type, settings (but rates of dropout) and shapes of every layer."""
    found: dict[str, object] = {}
    for name, layer in model.named_modules():
        own = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
        shapes = {key: (tuple(value.shape), value.dtype, value.requires_grad) for key, value in own}
        settings = {key: _plain(value) for key, value in vars(layer).items() if key not in _RATES}
        found[name] = (type(layer), shapes, settings)
    return found


def _plain(value: object) -> object:
    """A setting that can be compared; None for what torch and a layer keep for themselves."""
    if isinstance(value, Slot):
        return replace(value, attn_drop=0.0, proj_drop=0.0)
    return value if isinstance(value, bool | int | float | str | tuple | list) else None
