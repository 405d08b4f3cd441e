"""Training loop: epochs of updates, an evaluation after each, and a callback that may stop it.

It depends neither on Ray nor on Optuna nor on labels: the task provides loss and metrics, `report` the decision to
stop. All that it changes is in a `TrainingState`, which a checkpoint saves: it can be interrupted and resumed between
any two updates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from modelzoo.official.frozen import frozen_modules
from runners.data import Batch, Data, train_batch_size
from runners.data.epochs import updates_of
from runners.data.random_streams import Seed
from runners.tasks import Task
from runners.training.checkpoint import TrialCheckpoint
from runners.training.evaluation import Evaluation
from runners.training.precision import Precision
from runners.training.process_group import ALONE, ProcessGroup
from runners.training.state import TrainingState
from runners.training.trial_parts.epoch import (
    PartOfUpdate,
    batches_left,
    begin_epoch,
    check_finite,
    count_batch,
    measure_epoch,
    part_of_update,
    recalibrate_epoch,
    recalibrate_on,
)
from search_space.schema.trial import TrainSpec

__all__ = ["Curves", "Report", "Trained", "train_model"]

Report = Callable[[dict[str, float]], bool]
"""Callback with `{"epoch": n, "train_loss": ..., metrics}` after every epoch; True stops the training."""

Curves = list[list[dict[str, float]]]
"""A curve for every trial of a training."""


@dataclass(frozen=True)
class Trained:
    """Result of a training; what was measured is in its evaluations.

    `metrics`: of every evaluation, in their order; empty unless the training is completed.
    """

    status: Literal["completed", "pruned", "preempted"]
    train_seconds: float
    metrics: tuple[dict[str, float], ...] = ()


def train_model(
    task: Task,
    data: Data,
    train: TrainSpec,
    *,
    seed: Seed,
    device: torch.device,
    evaluations: Sequence[Evaluation],
    report: Callable[[list[dict[str, float]]], bool],
    checkpoint: TrialCheckpoint | None = None,
    prepare: Callable[[Precision], None] = lambda precision: None,
    on_resume: Callable[[Curves], None] = lambda curves: None,
    is_preempted: Callable[[], bool] = lambda: False,
    processes: ProcessGroup = ALONE,
) -> Trained:
    """Train for `train.epochs` epochs or until `report` returns True.

    With a validation split every epoch is evaluated on it (`val_top1`, ...); the test split is evaluated after the last
    epoch (`top1`) and where a validation metric is the best so far (`top1@best_val`: the test metric at the epoch with
    the best `val_top1`). Without one, every epoch is evaluated on the test split. Where weights are averaged, the
    average is evaluated, and the metrics are repeated as `top1@ema`, ... Stopping after the last epoch is completion.

    Args:
        evaluations: of the trial, and of further trials that share its training; every epoch is measured for each.
        report: receives the epoch's entry of every evaluation.
        checkpoint: restores an interrupted training and saves this one.
        prepare: called once with the precision of the training, before a checkpoint is loaded.
        on_resume: receives the curves so far before the first epoch of a resumed training.
        is_preempted: polled before every update; on True the training is saved and returns as `preempted`.
        processes: the process group that trains together; `data` is this process's shard, rank 0 calls `report`.

    Raises:
        NonFiniteLoss: the training loss, or the loss on the evaluated split, is NaN or infinite.
        UndefinedMetric: the metric of an evaluation has no value on the evaluated split.
    """
    state = TrainingState(
        task,
        train,
        seed=seed,
        updates_per_epoch=updates_of(len(data.train), train),
        device=device,
        evaluations=evaluations,
        processes=processes,
    )
    prepare(state.precision)
    frozen = frozen_modules(task.model, task.pretrained_part(task.model), train.freeze)
    for network in task.references:
        norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        recalibrate_on(data, network, norms, train, state.precision)
    is_preempted = processes.now_and_then(is_preempted)
    if checkpoint is not None and checkpoint.resume(state):
        on_resume([[dict(point) for point in each.curve] for each in evaluations])
    while state.epoch < train.epochs:
        start = _now(device)
        is_whole = _train_epoch(state, data, train, is_preempted, frozen=frozen.values())
        state.seconds += _now(device) - start
        if not is_whole:
            if checkpoint is not None:
                checkpoint.save(state)
            return Trained("preempted", state.seconds)
        recalibrate_epoch(state, data, train, frozen=frozen)
        measure_epoch(state)
        is_stopped = processes.agree(lambda: report([dict(each.curve[-1]) for each in evaluations]))
        if is_stopped and state.epoch < train.epochs:
            return Trained("pruned", state.seconds)
        if checkpoint is not None:
            checkpoint.save_if_due(state)
    metrics = tuple(each.final_metrics(state.precision) for each in evaluations)
    return Trained("completed", state.seconds, metrics)


def _train_epoch(
    state: TrainingState,
    data: Data,
    train: TrainSpec,
    is_preempted: Callable[[], bool],
    *,
    frozen: Iterable[nn.Module],
) -> bool:
    """Do the remaining updates of the epoch; False if the training was preempted before the last one.

    Args:
        frozen: modules that stay in evaluation mode.
    """
    task = state.task
    begin_epoch(task, state.epoch, frozen=frozen)
    for batch in batches_left(state, data):
        part = part_of_update(state.batches, len(data.train), train.grad_accum_steps)
        # Before the update: a preempted epoch then has updates left, and a complete one is still evaluated.
        if part.begins and is_preempted():
            return False
        loss = _update(state, data, train, batch, part)
        count_batch(state, loss, part, average=task.after_update)
    assert state.batches > 0, "an epoch without batches"
    check_finite(state)
    return True


def _update(state: TrainingState, data: Data, train: TrainSpec, batch: Batch, part: PartOfUpdate) -> Tensor:
    """Add the gradient of a batch, with the last one of an update change the weights; returns the loss, detached."""
    task, processes = state.task, state.processes
    with state.precision.autocast():
        loss = task.loss(batch, state.mixing)
    if processes.size > 1:
        loss = loss * processes.weight(len(batch[1]), of=train_batch_size(train, data.info.num_train))
    scaled = loss if part.of == 1 else loss / part.of
    state.precision.update(scaled, state.optimizer, task.model, train, begins=part.begins, ends=part.ends)
    return loss.detach()


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type != "cpu":
        torch.get_device_module(device).synchronize()
    return time.perf_counter()
