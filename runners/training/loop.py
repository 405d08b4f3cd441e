"""Training loop: epochs of updates, an evaluation after each, and a callback that may stop it.

It depends neither on Ray nor on Optuna nor on labels: the task provides loss and metrics, `report` the decision to
stop. All that it changes is in a `TrainingState`, which a checkpoint saves: it can be interrupted and resumed between
any two updates.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from modelzoo import attention_batchnorms
from runners.data import Batch, Data, EvalBatches, train_batch_size
from runners.data.random_streams import generator_states, restore_generators
from runners.tasks import Task
from runners.training.best_epoch import BestWeights
from runners.training.bn_recalibration import recalibrate
from runners.training.checkpoint import TrialCheckpoint
from runners.training.precision import Precision
from runners.training.process_group import ALONE, ProcessGroup, in_order
from runners.training.state import TrainingState
from runners.trials.outcome import NonFiniteLoss, UndefinedMetric
from search_space.schema.metrics import METRICS
from search_space.schema.trial import TrainSpec

__all__ = ["Report", "Trained", "train_model"]

Report = Callable[[dict[str, float]], bool]
"""Callback with `{"epoch": n, "train_loss": ..., metrics}` after every epoch; True stops the training."""

_CHECK_LOSS_EVERY = 100


@dataclass(frozen=True)
class Trained:
    """Result of a training. `metrics` is empty unless it is completed.

    `correct`: which test images were right, in the order of the dataset; None if that is not kept.
    """

    status: Literal["completed", "pruned", "preempted"]
    metrics: dict[str, float]
    curve: list[dict[str, float]]
    train_seconds: float
    correct: torch.Tensor | None = None


def train_model(
    task: Task,
    data: Data,
    train: TrainSpec,
    *,
    seed: int,
    device: torch.device,
    report: Report,
    metric: str | None = None,
    checkpoint: TrialCheckpoint | None = None,
    best_weights: BestWeights | None = None,
    keep_predictions: bool = False,
    on_resume: Callable[[list[dict[str, float]]], None] = lambda curve: None,
    is_preempted: Callable[[], bool] = lambda: False,
    processes: ProcessGroup = ALONE,
) -> Trained:
    """Train for `train.epochs` epochs or until `report` returns True.

    With a validation split every epoch is evaluated on it (`val_top1`, ...); the test split is evaluated after the last
    epoch (`top1`) and where a validation metric is the best so far (`top1@best_val`: the test metric at the epoch with
    the best `val_top1`). Without one, every epoch is evaluated on the test split. Where weights are averaged, the
    average is evaluated, and the metrics are repeated as `top1@ema`, ... Stopping after the last epoch is completion.

    Args:
        metric: must be defined in every evaluation; others may be undefined, and are then left out.
        checkpoint: restores an interrupted training and saves this one.
        best_weights: receives the weights of every epoch for model selection.
        keep_predictions: keep which test images are right in the evaluation that gives `top1`.
        on_resume: receives the curve so far before the first epoch of a resumed training.
        is_preempted: polled before every update; on True the training is saved and returns as `preempted`.
        processes: the process group that trains together; `data` is this process's shard, rank 0 calls `report`.

    Raises:
        NonFiniteLoss: the training loss, or the loss on the evaluated split, is NaN or infinite.
        UndefinedMetric: `metric` has no value on the evaluated split.
    """
    state = TrainingState(
        task,
        train,
        metric=metric,
        seed=seed,
        updates_per_epoch=len(data.train),
        device=device,
        best_weights=best_weights,
        keeps_predictions=keep_predictions,
        processes=processes,
    )
    is_preempted = processes.now_and_then(is_preempted)
    if checkpoint is not None and checkpoint.resume(state):
        on_resume([dict(point) for point in state.curve])
    while state.epoch < train.epochs:
        epoch = state.epoch + 1
        start = _now(device)
        is_whole = _train_epoch(state, data, train, is_preempted)
        state.seconds += _now(device) - start
        if not is_whole:
            if checkpoint is not None:
                checkpoint.save(state)
            return Trained("preempted", {}, state.curve, state.seconds)
        train_loss = processes.mean(state.loss_sum).item() / state.batches
        processes.copy_buffers(task.evaluated_model)
        _recalibrate(task, data, train, state.precision)
        found = _measure_epoch(state, data, train, epoch)
        if best_weights is not None:
            best_weights.consider(epoch, {name.removeprefix("val_"): found[name] for name in found}, task.weights)
        state.curve.append({"epoch": epoch, "train_loss": train_loss, **found})
        state.begin_epoch(epoch)
        if processes.agree(lambda: report(dict(state.curve[-1]))) and epoch < train.epochs:
            return Trained("pruned", {}, state.curve, state.seconds)
        if checkpoint is not None:
            checkpoint.save_if_due(state)
    metrics = _final_metrics(state, data, train)
    return Trained("completed", metrics, state.curve, state.seconds, state.correct)


def _train_epoch(state: TrainingState, data: Data, train: TrainSpec, is_preempted: Callable[[], bool]) -> bool:
    """Do the remaining updates of the epoch; False if the training was preempted before the last one."""
    task, epoch, processes = state.task, state.epoch + 1, state.processes
    batch_size = train_batch_size(train, data.info.num_train)
    task.model.train()
    for batch in _batches_left(state, data):
        # Before the update: a preempted epoch then has updates left, and a complete one is still evaluated.
        if is_preempted():
            return False
        with state.precision.autocast():
            loss = task.loss(batch, state.mixing)
        if processes.size > 1:
            loss = loss * processes.weight(len(batch[1]), of=batch_size)
        state.precision.update(loss, state.optimizer, task.model, train)
        state.batches += 1
        task.after_update(state.updates)
        if state.schedule is not None:
            state.schedule.step_update(state.updates)
        state.weight_decay.step_update(state.updates)
        state.loss_sum += loss.detach()
        # Reading the loss synchronises with the GPU; once in 100 updates is enough to stop a diverged epoch early.
        if state.batches % _CHECK_LOSS_EVERY == 0:
            _check_finite(state.loss_sum, epoch)
    assert state.batches > 0, "an epoch without batches"
    _check_finite(state.loss_sum, epoch)
    return True


def _batches_left(state: TrainingState, data: Data) -> Iterator[Batch]:
    """Remaining batches of the epoch. Those trained on before an interruption are read and dropped, which advances the
    augmentation streams to their positions at the interruption."""
    batches = iter(data.train.epoch(state.epoch + 1))
    if state.batches:
        generators = generator_states(state.device)
        for _ in range(state.batches):
            next(batches)
        restore_generators(generators, state.device)
    return batches


def _measure_epoch(state: TrainingState, data: Data, train: TrainSpec, epoch: int) -> dict[str, float]:
    """Metrics of the validation split, else of the test split; at a best validation epoch the test split, too."""
    if data.val is None and epoch == train.epochs:
        return _measure_last(state, data, train)
    if data.val is None:
        return _measure(state, data.test, epoch)
    on_val = _measure(state, data.val, epoch)
    state.chosen.consider(on_val, lambda: _measure(state, data.test, epoch))
    return {f"val_{name}": value for name, value in on_val.items()}


def _final_metrics(state: TrainingState, data: Data, train: TrainSpec) -> dict[str, float]:
    found = {name: value for name, value in state.curve[-1].items() if name not in ("epoch", "train_loss")}
    if data.val is not None:
        found = {**_measure_last(state, data, train), **found, **state.chosen.test_metrics}
    if train.ema_decay is not None:
        found |= {f"{name}@ema": found[name] for name in METRICS if name in found}
    return found


def _measure_last(state: TrainingState, data: Data, train: TrainSpec) -> dict[str, float]:
    """Metrics of the test split after the last epoch: those that the trial reports, and its predictions."""
    if not state.keeps_predictions:
        return _measure(state, data.test, train.epochs)
    parts: list[torch.Tensor] = []
    found = _measure(state, data.test, train.epochs, correct=parts)
    mine = torch.cat([torch.zeros(0, dtype=torch.bool), *(part.cpu() for part in parts)])
    # Evaluation has batches of `train.batch_size`, whatever the number of training images is.
    correct = in_order(state.processes.gather(mine), batch_size=train.batch_size)
    assert len(correct) in (0, data.info.num_test), "predictions of other images than those of the test split"
    state.correct = correct if len(correct) else None
    return found


def _check_finite(total: torch.Tensor, epoch: int) -> None:
    value = total.item()
    if not math.isfinite(value):
        raise NonFiniteLoss(epoch, value)


def _recalibrate(task: Task, data: Data, train: TrainSpec, precision: Precision) -> None:
    encoder = task.encoder
    recalibrate(
        encoder,
        attention_batchnorms(encoder),
        data.calibration,
        num_batches=train.recalibrate_bn,
        autocast=precision.autocast(),
    )


def _measure(
    state: TrainingState, batches: EvalBatches, epoch: int, *, correct: list[torch.Tensor] | None = None
) -> dict[str, float]:
    found = state.task.metrics(batches, state.precision.autocast(), correct=correct)
    if not all(math.isfinite(value) for value in found.values()):
        raise NonFiniteLoss(epoch, found.get("loss", math.nan))
    if state.metric is not None and state.metric not in found:
        raise UndefinedMetric(state.metric, epoch)
    return found


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
