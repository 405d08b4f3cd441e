"""Everything that changes while a trial trains, in one place: what a checkpoint must hold to continue bit for bit.

The schedule is not in it: a learning rate is a function of the number of updates, which the position tells. The order
of the data and its augmentation are functions of the trial's seed and the epoch; inside an epoch the position is the
number of batches done.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2

from runners.data.random_streams import generator, generator_states, restore_generators, stream_seed
from runners.tasks import Task
from runners.training.best_epoch import BestOnValidation, BestWeights
from runners.training.precision import Precision
from runners.training.process_group import ALONE, ProcessGroup
from search_space.schema.trial import TrainSpec

__all__ = ["TrainingState"]


class TrainingState:
    """A training between two updates.

    Attributes:
        epoch: epochs that are finished, measured and in `curve`.
        batches: updates done in the epoch after those.
        loss_sum: of those updates, float64.
        mixing: stream of random numbers for mixup in that epoch.
        seconds: spent on optimisation.
        best_weights: None unless the best weights are to be kept.
    """

    def __init__(
        self,
        task: Task,
        train: TrainSpec,
        *,
        seed: int,
        updates_per_epoch: int,
        device: torch.device,
        best_weights: BestWeights | None = None,
        processes: ProcessGroup = ALONE,
    ) -> None:
        self.task = task
        self.processes = processes
        self.device = device
        self.precision = Precision(train.amp, device)
        self.optimizer = create_optimizer_v2(
            task.model,
            opt=train.opt,
            lr=train.lr,
            weight_decay=train.weight_decay,
            momentum=train.momentum,
            layer_decay=train.layer_decay,
        )
        self.schedule, _ = create_scheduler_v2(
            self.optimizer,
            sched=train.sched,
            num_epochs=train.epochs,
            warmup_epochs=train.warmup_epochs,
            warmup_lr=train.warmup_lr,
            min_lr=train.min_lr,
            step_on_epochs=False,
            updates_per_epoch=updates_per_epoch,
        )
        self.curve: list[dict[str, float]] = []
        self.seconds = 0.0
        self.chosen = BestOnValidation()
        self.best_weights = best_weights
        self._train, self._seed, self._updates_per_epoch = train, seed, updates_per_epoch
        self.begin_epoch(0)

    def begin_epoch(self, finished: int) -> None:
        """Stands before the first update of the epoch after `finished` ones."""
        self.epoch = finished
        self.batches = 0
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self.mixing = generator(self._seed, "mixing", finished + 1)

    @property
    def updates(self) -> int:
        """Optimiser steps so far."""
        return self.epoch * self._updates_per_epoch + self.batches

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values only. Tensors are the training's own: write or copy them before it goes on.
        All processes of a trial call it together."""
        generators = self.processes.gather(generator_states(self.device))
        return {**self._content(), "loss_sum": self.processes.mean(self.loss_sum), "generators": generators}

    def _content(self) -> dict[str, Any]:
        state = {
            "epoch": self.epoch,
            "batches": self.batches,
            "loss_sum": self.loss_sum,
            "mixing": self.mixing.get_state(),
            "curve": self.curve,
            "seconds": self.seconds,
            "task": self.task.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
            "chosen": self.chosen.state_dict(),
        }
        return state if self.best_weights is None else state | {"best_weights": self.best_weights.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave, the global generators included.

        Raises:
            ValueError, KeyError, RuntimeError, TypeError, ...: it does not fit. The training is then as it was before.
        """
        here = [generator_states(self.device)] * self.processes.size
        before = {**copy.deepcopy(self._content()), "generators": here}
        try:
            self._load(state)
        except BaseException:
            self._load(before)
            raise

    def _load(self, state: dict[str, Any]) -> None:
        epoch, batches = int(state["epoch"]), int(state["batches"])
        curve = [{str(name): value + 0 for name, value in point.items()} for point in state["curve"]]
        if not 0 <= epoch <= self._train.epochs or [point["epoch"] for point in curve] != list(range(1, epoch + 1)):
            raise ValueError(f"{len(curve)} epochs in its curve, but it stands after epoch {epoch}")
        if not 0 <= batches < self._updates_per_epoch:
            raise ValueError(f"it stands after batch {batches} of an epoch of {self._updates_per_epoch}")
        self.begin_epoch(epoch)
        self.batches = batches
        self.loss_sum.copy_(state["loss_sum"])
        self.mixing.set_state(state["mixing"])
        self.curve, self.seconds = curve, float(state["seconds"])
        self.task.load_state_dict(state["task"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.precision.load_state_dict(state["precision"])
        self.chosen.load_state_dict(state["chosen"])
        if self.best_weights is not None:
            if "best_weights" not in state:
                raise ValueError("it has not kept the best weights, for which `keep: best` asks")
            self.best_weights.load_state_dict(state["best_weights"])
        generators = state["generators"]
        if len(generators) == self.processes.size:
            restore_generators(generators[self.processes.rank], self.device)
        else:  # other processes than those that saved it: no number may be drawn twice
            torch.manual_seed(stream_seed(self._seed, "continued", self.processes.rank, self.updates))
