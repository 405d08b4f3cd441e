"""Steps of several trainings as one stacked model, and the states of the trainings before and after them.

The stack holds weights, moments and averages while it trains. A member's own `TrainingState`, as that of a trial by
itself, gets them back whenever it is measured, saved or left alone.

Shapes: K members, B images of a batch of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.utils import ModelEmaV3
from torch import Generator, Tensor

from modelzoo.stacked import Stacked
from runners.data import Batch
from runners.tasks.classification import Classification
from runners.training.optimization.optimizer import load_optimizer
from runners.training.stacked.clipping import clip_members
from runners.training.stacked.optimizer import StackedOptimizer
from runners.training.state import TrainingState
from runners.training.trial_parts.epoch import PartOfUpdate
from search_space.schema.trial import TrainSpec

__all__ = ["StackedTraining"]


class StackedTraining:
    """Trainings of one shape, whose weights are rows of one model. In the order of `states`, as all lists here.

    Args:
        states: of the members; they are read when the stack is made, and again by `take`.
        generators: of the members' dropouts.
    """

    def __init__(self, states: Sequence[TrainingState], generators: Sequence[Generator], train: TrainSpec) -> None:
        self.states = list(states)
        self._train = train
        self._stack = Stacked([each.task.model for each in states], generators=generators)
        self._optimizer = StackedOptimizer(
            self._stack, [each.task.model for each in states], [each.optimizer for each in states]
        )
        self._average = None
        if train.ema_decay is not None:
            self._average = ModelEmaV3(self._stack, decay=train.ema_decay, use_warmup=train.model_ema_warmup)
        for member, state in enumerate(states):
            self.take(member)
            if state.updates:
                self._optimizer.load_member_state_dict(member, state.optimizer.state_dict())
        self._set_rates()

    @property
    def evaluated(self) -> Stacked:
        """What is measured: the stack, or the average of its weights."""
        return self._stack if self._average is None else self._average.module

    def begin_epoch(self) -> None:
        """Put the stack into training mode."""
        self._stack.train()

    def update(self, batches: Sequence[Batch], part: PartOfUpdate) -> Tensor:
        """Add the gradients of a batch of every member, and with the last one of an update change the weights.

        Returns:
            Losses (K,) of the batches, detached.
        """
        tasks = [_task_of(each) for each in self.states]
        streams = [each.mixing for each in self.states]
        mixed = [task.mixed(batch, stream) for task, batch, stream in zip(tasks, batches, streams, strict=True)]
        if part.begins:
            self._optimizer.zero_grad()
        logits_KBC = self._stack(torch.stack([images for images, _ in mixed]))
        losses = [
            task.loss_of(logits, targets) for task, logits, (_, targets) in zip(tasks, logits_KBC, mixed, strict=True)
        ]
        losses_K = torch.stack(losses)
        # The sum: each member's gradient is that of its own loss. A mean would divide it by their number.
        total = losses_K.sum()
        (total if part.of == 1 else total / part.of).backward()
        if part.ends:
            clip_members(self._stack, self._train)
            self._optimizer.step()
        return losses_K.detach()

    def end_update(self) -> None:
        """Let the averages follow the weights after an update, which the members' states have counted, and take the
        rates of the next one from their own optimisers, which their schedules have set."""
        if self._average is not None:
            latest = max(state.updates for state in self.states)
            self._average.update(self._stack, step=latest)
            # timm's decay is 0 at the first update and then, but for its warm-up, does not depend on their number.
            for member, state in enumerate(self.states):
                if state.updates == 1 < latest:
                    self._average.module.load_member_state(member, self._stack.member_state(member))
        self._set_rates()

    def give_back(self, member: int, *, with_optimizer: bool = False) -> None:
        """Give a member's own state its weights, their average, and with `with_optimizer` that of its optimiser."""
        state = self.states[member]
        found = {"model": self._stack.member_state(member)}
        if self._average is not None:
            found["average"] = self._average.module.member_state(member)
        state.task.load_state_dict(found)
        if with_optimizer:
            load_optimizer(state.optimizer, self._optimizer.member_state_dict(member))

    def take(self, member: int) -> None:
        """Take the weights and their average from a member's own state."""
        found = self.states[member].task.state_dict()
        self._stack.load_member_state(member, found["model"])
        if self._average is not None:
            self._average.module.load_member_state(member, found["average"])

    def select(self, members: Sequence[int]) -> None:
        """Keep these members only; the others' own states keep what they were given back last."""
        self.states = [self.states[member] for member in members]
        self._stack.select(members)
        self._optimizer.select(members)
        if self._average is not None:
            self._average.module.select(members)

    def _set_rates(self) -> None:
        for member, state in enumerate(self.states):
            self._optimizer.set_rates(member, state.optimizer.param_groups)


def _task_of(state: TrainingState) -> Classification:
    assert isinstance(state.task, Classification), "a task that does not train fused"
    return state.task
