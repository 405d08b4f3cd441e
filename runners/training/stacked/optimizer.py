"""Optimiser of a stack: each member's own, on rows of memory in which the weights of a member lie one after another.

An optimiser that computes every entry by itself may take a member's weights as one vector. So all weights of a member
that share their settings are one row of a matrix, one tensor to a fused kernel, and a member has its own learning rates
and weight decays. A row's length is a multiple of `_LANES`: vector instructions take so many entries at a time and
round the last ones of a tensor otherwise, and so no entry's digits depend on how many members there are.

Which weights have weight decay or a learning rate of their own is as in the members' single optimisers, from which this
one is made; their state dicts are what it reads and writes.

Shapes:  K members, n entries of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from timm.optim.adabelief import AdaBelief
from timm.optim.lion import Lion
from timm.optim.nadamw import NAdamW
from timm.optim.rmsprop_tf import RMSpropTF
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from modelzoo.stacked import Stacked
from runners.training.optimization.optimizer import KERNELS, optimizer_of_one_layer
from search_space.schema.trial import TrainSpec

__all__ = ["StackedOptimizer", "reason_not_stacked"]

# Each updates an entry from that entry's gradients alone: no norms of weights, no matrices.
_ENTRY_BY_ENTRY = (
    *(optim.Adagrad, optim.Adam, optim.Adamax, optim.AdamW, optim.NAdam, optim.RAdam, optim.RMSprop, optim.SGD),
    *(AdaBelief, Lion, NAdamW, RMSpropTF),
)
# But with these options, which take a mean or a norm over a whole weight.
_WHOLE_WEIGHTS = ("caution", "clipping_threshold")
_LANES = 16
_RATES = ("lr", "weight_decay")


def reason_not_stacked(train: TrainSpec) -> str | None:
    """Why the optimiser of a training is not stacked, as a sentence; None if it is."""
    made = optimizer_of_one_layer(train)
    if type(made) not in _ENTRY_BY_ENTRY:
        return f"its optimizer {train.opt!r} is not one that updates every weight's entries by themselves"
    if used := [name for name in _WHOLE_WEIGHTS if made.param_groups[0].get(name)]:
        return f"its optimizer {train.opt!r} looks at whole weights ({', '.join(used)})"
    return None


@dataclass
class _Segment:
    """Weights that share a group in every member's optimiser.

    Attributes:
        names: of the weights, in their order in a row.
        group_of: group of each member's optimiser.
        rows: the weights, (K, n), of which the stack's parameters are parts.
        gradients: (K, n).
    """

    names: list[str]
    group_of: list[int]
    rows: Tensor
    gradients: Tensor
    members: list[Tensor]


class StackedOptimizer:
    """Optimiser of all members.

    Args:
        stack: its parameters become parts of this optimiser's rows.
        models: the members' single models, or any with the same names and the same frozen weights.
        optimizers: their single optimisers, for which `reason_not_stacked` is None; their settings are copied, and
            their states are not.
    """

    def __init__(self, stack: Stacked, models: Sequence[nn.Module], optimizers: Sequence[Optimizer]) -> None:
        if not len(models) == len(optimizers) == stack.size:
            raise ValueError(f"{len(models)} models and {len(optimizers)} optimizers for {stack.size} members")
        self._kind: Any = type(optimizers[0])
        if any(type(each) is not self._kind for each in optimizers):
            raise ValueError("members with different kinds of optimizers are not stacked")
        self._stack = stack
        self._names = [_names_by_group(model, each) for model, each in zip(models, optimizers, strict=True)]
        self._settings = [[_settings_of(group) for group in each.param_groups] for each in optimizers]
        if len({frozenset(chain.from_iterable(each)) for each in self._names}) > 1:
            raise ValueError("members that train different weights are not stacked")
        self._lay_out([{}] * stack.size)

    def zero_grad(self) -> None:
        """Forget the gradients of the stack's parameters."""
        for parameter in self._stack.parameters():
            parameter.grad = None

    def step(self) -> None:
        """One update of all members with the gradients of the stack's parameters."""
        parameters = dict(self._stack.named_parameters())
        for segment in self._segments:
            parts = [parameters[name].grad for name in segment.names]
            if missing := [name for name, part in zip(segment.names, parts, strict=True) if part is None]:
                raise ValueError(f"no gradient of {', '.join(missing)}")
            flat = [part.flatten(1) for part in parts if part is not None]
            used = sum(part.shape[1] for part in flat)
            torch.cat([*flat, segment.gradients[:, used:]], dim=1, out=segment.gradients)
        self._optimizer.step()

    def set_rates(self, member: int, groups: Sequence[Mapping[str, Any]]) -> None:
        """Learning rates and weight decays of a member's next update, from the groups of its single optimiser."""
        for ours, theirs in zip(self._groups[member], groups, strict=True):
            ours.update({name: theirs[name] for name in _RATES})

    def member_state_dict(self, member: int) -> dict[str, Any]:
        """State dict of a member's single optimiser, copied."""
        packed: dict[int, dict[str, Any]] = {}
        groups: list[dict[str, Any]] = []
        index, places = 0, self._places(member)
        for names, group in zip(self._names[member], self._groups[member], strict=True):
            first = index
            for name in names:
                row, at, shape = places[name]
                if state := self._optimizer.state.get(row):
                    packed[index] = {key: _part(value, row, at, shape) for key, value in state.items()}
                index += 1
            groups.append({**_settings_of(group), "params": list(range(first, index))})
        return {"state": packed, "param_groups": groups}

    def load_member_state_dict(self, member: int, state: Mapping[str, Any]) -> None:
        """Load a member's state from the state dict of its single optimiser.

        Raises:
            ValueError: it is of another optimiser; nothing is loaded then.
        """
        sizes = [len(group["params"]) for group in state["param_groups"]]
        if sizes != [len(names) for names in self._names[member]]:
            raise ValueError(f"an optimizer's state with groups of {sizes} weights")
        names = list(chain.from_iterable(self._names[member]))
        packed, places = state["state"], self._places(member)
        if packed and set(packed) != set(range(len(names))):
            raise ValueError("an optimizer's state of some of the weights")
        rows: dict[Tensor, dict[str, Any]] = {}
        for index, name in enumerate(names if packed else ()):
            row, at, _ = places[name]
            held = rows.setdefault(row, {})
            for key, value in packed[index].items():
                if not isinstance(value, Tensor) or value.ndim == 0:
                    held[key] = value.clone() if isinstance(value, Tensor) else value
                else:
                    held.setdefault(key, torch.zeros_like(row))[at].copy_(value.reshape(-1))
        for ours, theirs in zip(self._groups[member], state["param_groups"], strict=True):
            ours.update({name: value for name, value in _settings_of(theirs).items() if name not in KERNELS})
        for row in self._rows_of(member):
            self._optimizer.state.pop(row, None)
        self._optimizer.state.update(rows)

    def select(self, members: Sequence[int]) -> None:
        """Keep these members only, as `Stacked.select` has done before this with the stack."""
        kept = [range(len(self._names))[member] for member in members]
        states = [{i: self._optimizer.state.get(row, {}) for i, row in self._numbered(member)} for member in kept]
        self._settings = [[_settings_of(group) for group in self._groups[member]] for member in kept]
        self._names = [self._names[member] for member in kept]
        self._lay_out(states)

    def _lay_out(self, states: Sequence[Mapping[int, dict[str, Any]]]) -> None:
        """Make the rows and the optimiser on them, with the states of every member's rows by segment."""
        self._segments = self._segmented()
        groups: list[dict[str, Any]] = []
        self._groups: list[list[dict[str, Any]]] = []
        for member, settings in enumerate(self._settings):
            of_member = [
                {**each, "params": [s.members[member] for s in self._segments if s.group_of[member] == index]}
                for index, each in enumerate(settings)
            ]
            groups += of_member
        self._optimizer = self._kind(groups)
        made = iter(self._optimizer.param_groups)
        self._groups = [[next(made) for _ in settings] for settings in self._settings]
        for member, held in enumerate(states):
            for index, row in self._numbered(member):
                if state := held.get(index):
                    self._optimizer.state[row] = state

    @torch.no_grad()
    def _segmented(self) -> list[_Segment]:
        group_of = [{name: i for i, names in enumerate(groups) for name in names} for groups in self._names]
        together: dict[tuple[int, ...], list[str]] = {}
        parameters = dict(self._stack.named_parameters())
        for name in parameters:
            if name in group_of[0]:
                together.setdefault(tuple(each[name] for each in group_of), []).append(name)
        segments = []
        for groups, names in together.items():
            flat = torch.cat([parameters[name].flatten(1) for name in names], dim=1)
            rows = flat.new_zeros((len(flat), -(-flat.shape[1] // _LANES) * _LANES))
            rows[:, : flat.shape[1]] = flat
            segment = _Segment(names, list(groups), rows, torch.zeros_like(rows), [])
            for name, at, shape in _parts_of(segment, parameters):
                parameters[name].data = rows[:, at].unflatten(1, shape) if shape else rows[:, at].squeeze(1)
            for member in range(self._stack.size):
                row = rows[member]
                row.grad = segment.gradients[member]
                segment.members.append(row)
            segments.append(segment)
        return segments

    def _numbered(self, member: int) -> list[tuple[int, Tensor]]:
        return [(index, segment.members[member]) for index, segment in enumerate(self._segments)]

    def _rows_of(self, member: int) -> list[Tensor]:
        return [row for _, row in self._numbered(member)]

    def _places(self, member: int) -> dict[str, tuple[Tensor, slice, torch.Size]]:
        """Row, place in it and shape of every weight of a member."""
        parameters = dict(self._stack.named_parameters())
        return {
            name: (segment.members[member], at, shape)
            for segment in self._segments
            for name, at, shape in _parts_of(segment, parameters)
        }


def _names_by_group(model: nn.Module, optimizer: Optimizer) -> list[list[str]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [[names[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups]


def _settings_of(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def _parts_of(segment: _Segment, parameters: Mapping[str, Tensor]) -> list[tuple[str, slice, torch.Size]]:
    """Name, place and shape of a member's weights in a row."""
    found, begin = [], 0
    for name in segment.names:
        shape = parameters[name].shape[1:]
        found.append((name, slice(begin, begin + shape.numel()), shape))
        begin += shape.numel()
    return found


def _part(value: Any, row: Tensor, at: slice, shape: torch.Size) -> Any:
    """A weight's part of a row's state; what is one number for the whole row is so for each weight."""
    if not isinstance(value, Tensor):
        return value
    return value[at].view(shape).clone() if value.shape == row.shape else value.clone()
