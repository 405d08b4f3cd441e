"""Training state of a trial: everything that a checkpoint must hold to resume bit for bit.

The schedule is not in it: the learning rate is a function of the number of updates, which follows from the position.
The order of the data and its augmentation are functions of the trial's seed and the epoch; inside an epoch the position
is the number of batches done.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from timm.optim import create_optimizer_v2

from runners.data.random_streams import generator, generator_states, restore_generators, stream_seed
from runners.tasks import Task
from runners.training.best_epoch import BestOnValidation, BestWeights
from runners.training.precision import Precision
from runners.training.process_group import ALONE, ProcessGroup
from runners.training.schedule import WeightDecay, make_schedule
from search_space.schema.trial import TrainSpec

__all__ = ["TrainingState"]


class TrainingState:
    """State of a training between two updates.

    Attributes:
        metric: name of the metric that every evaluation must give; None: none must.
        epoch: epochs that are finished, measured and in `curve`.
        batches: updates done in the epoch after those.
        loss_sum: sum of the losses of these updates, float64.
        mixing: random number stream for mixup in that epoch.
        seconds: time spent on optimisation.
        best_weights: None unless `checkpoints.keep` is `best`.
        correct: which test images were right after the last epoch, (N,) bool on the CPU; None before, or if not kept.
    """

    def __init__(
        self,
        task: Task,
        train: TrainSpec,
        *,
        seed: int,
        updates_per_epoch: int,
        device: torch.device,
        metric: str | None = None,
        best_weights: BestWeights | None = None,
        keeps_predictions: bool = False,
        processes: ProcessGroup = ALONE,
    ) -> None:
        self.task = task
        self.metric = metric
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
        self.schedule = make_schedule(self.optimizer, train, updates_per_epoch=updates_per_epoch)
        self.weight_decay = WeightDecay(self.optimizer, train, updates_per_epoch=updates_per_epoch)
        self.curve: list[dict[str, float]] = []
        self.seconds = 0.0
        self.chosen = BestOnValidation()
        self.best_weights = best_weights
        self.keeps_predictions = keeps_predictions
        self.correct: torch.Tensor | None = None
        self._train, self._seed, self._updates_per_epoch = train, seed, updates_per_epoch
        self.begin_epoch(0)

    def begin_epoch(self, finished: int) -> None:
        """Set the position to the first update of the epoch after `finished` epochs."""
        self.epoch = finished
        self.batches = 0
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self.mixing = generator(self._seed, "mixing", finished + 1)

    @property
    def updates(self) -> int:
        """Optimiser steps so far."""
        return self.epoch * self._updates_per_epoch + self.batches

    def state_dict(self) -> dict[str, Any]:
        """State as tensors and plain values only.

        Tensors share memory with the training: write or copy them before it continues. A collective: all processes of
        a trial must call it together.
        """
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
        if self.best_weights is not None:
            state["best_weights"] = self.best_weights.state_dict()
        if self.correct is not None:
            state["correct"] = self.correct
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the result of `state_dict`, including the states of the global generators.

        Raises:
            ValueError, KeyError, RuntimeError, TypeError, ...: it does not fit. The training is then unchanged.
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
            raise ValueError(f"{len(curve)} epochs in its curve, but its position is after epoch {epoch}")
        if not 0 <= batches < self._updates_per_epoch:
            raise ValueError(f"its position is after batch {batches} of an epoch of {self._updates_per_epoch}")
        correct = state.get("correct") if self.keeps_predictions else None
        if self.keeps_predictions and epoch == self._train.epochs:
            _check_predictions(correct, curve[-1].get("top1"))
        self.begin_epoch(epoch)
        self.batches = batches
        self.loss_sum.copy_(state["loss_sum"])
        self.mixing.set_state(state["mixing"])
        self.curve, self.seconds = curve, float(state["seconds"])
        self.correct = correct
        self.task.load_state_dict(state["task"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.precision.load_state_dict(state["precision"])
        self.chosen.load_state_dict(state["chosen"])
        if self.best_weights is not None:
            if "best_weights" not in state:
                raise ValueError("it does not hold the best weights, which `keep: best` needs")
            self.best_weights.load_state_dict(state["best_weights"])
        generators = state["generators"]
        if len(generators) == self.processes.size:
            restore_generators(generators[self.processes.rank], self.device)
        else:  # saved by another number of processes: new streams, so that no number is drawn twice
            torch.manual_seed(stream_seed(self._seed, "continued", self.processes.rank, self.updates))


def _check_predictions(correct: Any, top1: float | None) -> None:
    """Refuse predictions after the last epoch that are not those of its `top1`. With a validation split the test split
    is still to be measured, so that there is neither."""
    if top1 is None:
        return
    if correct is None:
        raise ValueError("it does not hold which test images were right, which `keep_predictions` needs")
    if correct.dtype != torch.bool or correct.ndim != 1 or not math.isclose(100 * correct.double().mean(), top1):
        raise ValueError("which test images were right does not agree with its metrics")
