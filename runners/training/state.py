"""Training state of a trial: everything that a checkpoint must hold to resume bit for bit.

The schedule is not in it: the learning rate is a function of the number of updates, which follows from the position.
The order of the data and its augmentation are functions of the trial's seed and the epoch; inside an epoch the position
is the number of batches done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from modelzoo.official.frozen import head_parameters
from runners.data.random_streams import (
    Seed,
    generator,
    generator_states,
    of_source,
    restore_generators,
    stream_seed,
)
from runners.tasks import Task
from runners.training.evaluation import Evaluation
from runners.training.optimization.optimizer import create_optimizer, load_optimizer
from runners.training.optimization.schedule import WeightDecay, make_schedule
from runners.training.precision import Precision
from runners.training.process_group import ALONE, ProcessGroup
from search_space.schema.trial import TrainSpec

__all__ = ["TrainingState"]


class TrainingState:
    """State of a training between two updates.

    Attributes:
        evaluations: of every trial that shares this training; the first one's are those of the trial itself.
        epoch: epochs that are finished and measured.
        batches: batches done in the epoch after those: all of an update, or none.
        loss_sum: sum of their losses, float64 where the device has it.
        mixing: random number stream for mixup in that epoch.
        seconds: time spent on optimisation.
    """

    def __init__(
        self,
        task: Task,
        train: TrainSpec,
        *,
        seed: Seed,
        updates_per_epoch: int,
        device: torch.device,
        evaluations: Sequence[Evaluation],
        processes: ProcessGroup = ALONE,
    ) -> None:
        self.task = task
        self.evaluations = evaluations
        self.processes = processes
        self.device = device
        self.precision = Precision(train.amp, device)
        head = head_parameters(task.model, task.pretrained_part(task.model)) if train.head_lr_scale else ()
        self.optimizer = create_optimizer(task.model, train, device, head=head)
        noise = of_source(seed, "dropout")
        self.schedule = make_schedule(self.optimizer, train, updates_per_epoch=updates_per_epoch, noise_seed=noise)
        self.weight_decay = WeightDecay(self.optimizer, train, updates_per_epoch=updates_per_epoch)
        self.seconds = 0.0
        self._train, self._seed, self._updates_per_epoch = train, seed, updates_per_epoch
        self.begin_epoch(0)

    def begin_epoch(self, finished: int) -> None:
        """Set the position to the first update of the epoch after `finished` epochs."""
        self.epoch = finished
        self.batches = 0
        wide = torch.float32 if self.device.type in ("mps", "xpu") else torch.float64  # which these may lack
        self.loss_sum = torch.zeros((), dtype=wide, device=self.device)
        self.mixing = generator(self._seed, "mixing", finished + 1)

    @property
    def updates(self) -> int:
        """Optimiser steps so far."""
        return self.epoch * self._updates_per_epoch + self.updates_of_epoch

    @property
    def updates_of_epoch(self) -> int:
        """Optimiser steps since the last whole epoch; its last one may have fewer batches than the others."""
        return -(-self.batches // self._train.grad_accum_steps)

    def state_dict(self) -> dict[str, Any]:
        """State as tensors and plain values only.

        Tensors share memory with the training: write or copy them before it continues. A collective: all processes of
        a trial must call it together.
        """
        generators = self.processes.gather(generator_states(self.device))
        return {**self._content(), "loss_sum": self.processes.mean(self.loss_sum), "generators": generators}

    def _content(self) -> dict[str, Any]:
        first, *others = self.evaluations
        state = {
            "epoch": self.epoch,
            "batches": self.batches,
            "loss_sum": self.loss_sum,
            "mixing": self.mixing.get_state(),
            "seconds": self.seconds,
            "task": self.task.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
            **first.state_dict(),
        }
        # Beside the first one's, so that the checkpoint of a trial by itself is as it always was.
        shares = {each.trial_id: {**each.state_dict(), "seconds": each.seconds} for each in others}
        return {**state, "others": shares} if others else state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the result of `state_dict`, including the states of the global generators.

        Raises:
            ValueError, KeyError, RuntimeError, TypeError, ...: it does not fit. The training is then unchanged.
        """
        here = [generator_states(self.device)] * self.processes.size
        # On the CPU: the weights and their average twice on a GPU may be more than the training itself needs.
        before = {**_copied_to_cpu(self._content()), "generators": here}
        try:
            self._load(state)
        except BaseException:
            self._load(before)
            raise

    def _load(self, state: dict[str, Any]) -> None:
        epoch, batches = int(state["epoch"]), int(state["batches"])
        if not 0 <= epoch <= self._train.epochs:
            raise ValueError(f"its position is after epoch {epoch} of {self._train.epochs}")
        most = self._updates_per_epoch * self._train.grad_accum_steps
        if not 0 <= batches < most or batches % self._train.grad_accum_steps:
            raise ValueError(f"its position is after batch {batches} of an epoch of {most}")
        first, *others = self.evaluations
        first.load_state_dict(state, epoch=epoch)
        for each in others:
            if each.trial_id not in state.get("others", {}):
                raise ValueError(f"it does not hold what was measured for the trial {each.trial_id}")
            share = state["others"][each.trial_id]
            each.load_state_dict(share, epoch=epoch)
            each.seconds = float(share["seconds"])
        self.begin_epoch(epoch)
        self.batches = batches
        self.loss_sum.copy_(state["loss_sum"])
        self.mixing.set_state(state["mixing"])
        self.seconds = float(state["seconds"])
        self.task.load_state_dict(state["task"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.precision.load_state_dict(state["precision"])
        generators = state["generators"]
        if len(generators) == self.processes.size:
            restore_generators(generators[self.processes.rank], self.device)
        else:  # saved by another number of processes: new streams, so that no number is drawn twice
            torch.manual_seed(stream_seed(self._seed, "continued", self.processes.rank, self.updates))


def _copied_to_cpu(content: Any) -> Any:
    """A copy of plain values and tensors that shares no memory with them."""
    if isinstance(content, torch.Tensor):
        return content.detach().to("cpu", copy=True)
    if isinstance(content, dict):
        return {key: _copied_to_cpu(each) for key, each in content.items()}
    return type(content)(map(_copied_to_cpu, content)) if isinstance(content, list | tuple) else content
