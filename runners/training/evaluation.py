"""Evaluation of one trial during a training: its curve, its choice by validation, its best weights, its predictions.

Separate from the training because several trials may share one: those that differ in evaluation-only options
(`training_id`) are trained once, and every epoch is measured for each of them, so that each has the record that its own
training would have given (docs/decisions/0015-train-once-measure-often.md).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch

from runners.data import EvalBatches
from runners.data.dataset_info import Measured
from runners.tasks.task import MeasuredByClass, MeasuredModel
from runners.training.best_epoch import BestOnValidation, BestWeights
from runners.training.precision import Precision
from runners.training.process_group import ALONE, ProcessGroup, in_order
from runners.trials.outcome import NonFiniteLoss, UndefinedMetric
from search_space.schema.metrics import METRICS
from search_space.schema.trial import TrainSpec

__all__ = ["Evaluation"]


class Evaluation:
    """What belongs to one trial and changes with every epoch that is measured.

    Args:
        trial_id: under which a checkpoint holds it, beside those of other trials.
        num_test: images of the test split.
        metric: name of the metric that every evaluation must give; None: none must.

    Attributes:
        curve: one entry per finished epoch: epoch, train_loss, metrics.
        best_weights: None unless `checkpoints.keep` is `best`.
        correct: which test images were right after the last epoch, (N,) bool on the CPU; None before, or if not kept.
        class_accuracy: of the test split after the last epoch, by `accuracy/CLASS`; empty before, or if not measured.
        seconds: time that measuring took.
    """

    def __init__(
        self,
        trial_id: str,
        model: MeasuredModel,
        on: Measured,
        train: TrainSpec,
        *,
        num_test: int,
        metric: str | None = None,
        best_weights: BestWeights | None = None,
        keeps_predictions: bool = False,
        processes: ProcessGroup = ALONE,
    ) -> None:
        self.trial_id = trial_id
        self.model = model
        self.best_weights = best_weights
        self.curve: list[dict[str, float]] = []
        self.chosen = BestOnValidation()
        self._untrained: dict[str, float] = {}
        self.correct: torch.Tensor | None = None
        self.class_accuracy: dict[str, float] = {}
        self.seconds = 0.0
        self._on, self._train, self._num_test, self._processes = on, train, num_test, processes
        self._metric = metric
        self._keeps_predictions = keeps_predictions

    def measure_epoch(
        self, train_loss: float, precision: Precision, weights: Callable[[], dict[str, torch.Tensor]]
    ) -> None:
        """Measure an epoch and add it to the curve.

        The validation split is measured, else the test split; at a best validation epoch the test split, too.
        """
        start = time.perf_counter()
        epoch = len(self.curve) + 1
        found = self._epoch(epoch, precision)
        if self.best_weights is not None:
            self.best_weights.consider(epoch, {name.removeprefix("val_"): found[name] for name in found}, weights)
        self.curve.append({"epoch": epoch, "train_loss": train_loss, **found})
        self.seconds += time.perf_counter() - start

    def measure_untrained(self, precision: Precision, weights: Callable[[], dict[str, torch.Tensor]]) -> None:
        """Measure the weights that no training has changed, in place of a last epoch; the curve stays empty."""
        start = time.perf_counter()
        found = self._untrained = self._epoch(0, precision)
        if self.best_weights is not None:
            self.best_weights.consider(0, {name.removeprefix("val_"): found[name] for name in found}, weights)
        self.seconds += time.perf_counter() - start

    def final_metrics(self, precision: Precision) -> dict[str, float]:
        """Metrics of the trial after the last epoch, or of its weights where there is none."""
        start = time.perf_counter()
        last = self.curve[-1] if self.curve else self._untrained
        found = {name: value for name, value in last.items() if name not in ("epoch", "train_loss")}
        if self._on.val is not None:
            found = {**self._last(precision), **found, **self.chosen.test_metrics}
        if self._train.ema_decay is not None:
            found |= {f"{name}@ema": found[name] for name in METRICS if name in found}
        self.seconds += time.perf_counter() - start
        return found | self.class_accuracy

    def state_dict(self) -> dict[str, Any]:
        """State as tensors and plain values only."""
        state: dict[str, Any] = {"curve": self.curve, "chosen": self.chosen.state_dict()}
        if self.best_weights is not None:
            state["best_weights"] = self.best_weights.state_dict()
        if self.correct is not None:
            state["correct"] = self.correct
        if self.class_accuracy:
            state["class_accuracy"] = self.class_accuracy
        return state

    def load_state_dict(self, state: dict[str, Any], *, epoch: int) -> None:
        """Load the result of `state_dict` after `epoch` finished epochs.

        Raises:
            ValueError, KeyError, ...: it does not fit; then it may be partly loaded.
        """
        curve = [{str(name): value + 0 for name, value in point.items()} for point in state["curve"]]
        if [point["epoch"] for point in curve] != list(range(1, epoch + 1)):
            raise ValueError(f"{len(curve)} epochs in its curve, but its position is after epoch {epoch}")
        correct = state.get("correct") if self._keeps_predictions else None
        if self._keeps_predictions and epoch == self._train.epochs:
            _check_predictions(correct, curve[-1].get("top1"))
        self.curve, self.correct = curve, correct
        self.class_accuracy = {str(name): value + 0 for name, value in state.get("class_accuracy", {}).items()}
        self.chosen.load_state_dict(state["chosen"])
        if self.best_weights is not None:
            if "best_weights" not in state:
                raise ValueError("it does not hold the best weights, which `keep: best` needs")
            self.best_weights.load_state_dict(state["best_weights"])

    def _epoch(self, epoch: int, precision: Precision) -> dict[str, float]:
        if self._on.val is None:
            return self._last(precision) if epoch == self._train.epochs else self._measure(self._on.test, precision)
        on_val = self._measure(self._on.val, precision)
        self.chosen.consider(on_val, lambda: self._measure(self._on.test, precision))
        return {f"val_{name}": value for name, value in on_val.items()}

    def _last(self, precision: Precision) -> dict[str, float]:
        """Metrics of the test split after the last epoch: those that the trial reports, and its predictions."""
        parts: list[torch.Tensor] | None = [] if self._keeps_predictions else None
        found = self._measure(self._on.test, precision, correct=parts)
        if isinstance(self.model, MeasuredByClass):
            self.class_accuracy = dict(self.model.class_accuracy)
        if parts is None:
            return found
        mine = torch.cat([torch.zeros(0, dtype=torch.bool), *(part.cpu() for part in parts)])
        # Evaluation has batches of `train.batch_size`, whatever the number of training images is.
        correct = in_order(self._processes.gather(mine), batch_size=self._train.batch_size)
        assert len(correct) in (0, self._num_test), "predictions of other images than those of the test split"
        self.correct = correct if len(correct) else None
        return found

    def _measure(
        self, batches: EvalBatches, precision: Precision, *, correct: list[torch.Tensor] | None = None
    ) -> dict[str, float]:
        found = self.model.metrics(batches, precision.autocast(), correct=correct)
        epoch = min(len(self.curve) + 1, self._train.epochs)
        if not all(math.isfinite(value) for value in found.values()):
            raise NonFiniteLoss(epoch, found.get("loss", math.nan))
        if self._metric is not None and self._metric not in found:
            raise UndefinedMetric(self._metric, epoch)
        return found


def _check_predictions(correct: Any, top1: float | None) -> None:
    """Refuse predictions after the last epoch that are not those of its `top1`. With a validation split the test split
    is still to be measured, so that there is neither."""
    if top1 is None:
        return
    if correct is None:
        raise ValueError("it does not hold which test images were right, which `keep_predictions` needs")
    if correct.dtype != torch.bool or correct.ndim != 1 or not math.isclose(100 * correct.double().mean(), top1):
        raise ValueError("which test images were right does not agree with its metrics")
