"""Training loop: epochs of updates, an evaluation after each, and a callback that may stop it.

It depends neither on Ray nor on Optuna nor on labels: the task provides loss and metrics, `report` the decision to
stop. All that it changes is in a `TrainingState`, which a checkpoint saves: it can be interrupted and resumed between
any two updates.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from modelzoo import attention_batchnorms
from modelzoo.official.frozen import frozen_modules
from runners.data import Batch, Data, train_batch_size
from runners.data.epochs import updates_of
from runners.data.random_streams import generator_states, restore_generators
from runners.tasks import Task
from runners.training.bn_recalibration import recalibrate
from runners.training.checkpoint import TrialCheckpoint
from runners.training.evaluation import Evaluation
from runners.training.precision import Precision
from runners.training.process_group import ALONE, ProcessGroup
from runners.training.state import TrainingState
from runners.trials.outcome import NonFiniteLoss
from search_space.schema.trial import TrainSpec

__all__ = ["Curves", "Report", "Trained", "train_model"]

Report = Callable[[dict[str, float]], bool]
"""Callback with `{"epoch": n, "train_loss": ..., metrics}` after every epoch; True stops the training."""

Curves = list[list[dict[str, float]]]
"""A curve for every trial of a training."""

_CHECK_LOSS_EVERY = 100


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
    seed: int,
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
        _recalibrate(network, norms, data, train, state.precision)
    is_preempted = processes.now_and_then(is_preempted)
    if checkpoint is not None and checkpoint.resume(state):
        on_resume([[dict(point) for point in each.curve] for each in evaluations])
    while state.epoch < train.epochs:
        epoch = state.epoch + 1
        start = _now(device)
        is_whole = _train_epoch(state, data, train, is_preempted, frozen=frozen.values())
        state.seconds += _now(device) - start
        if not is_whole:
            if checkpoint is not None:
                checkpoint.save(state)
            return Trained("preempted", state.seconds)
        train_loss = processes.mean(state.loss_sum).item() / state.batches
        processes.copy_buffers(task.evaluated_model)
        _recalibrate(task.encoder, _trained_batchnorms(task.encoder, frozen), data, train, state.precision)
        for each in evaluations:
            each.measure_epoch(train_loss, state.precision, task.weights)
        state.begin_epoch(epoch)
        if processes.agree(lambda: report([dict(each.curve[-1]) for each in evaluations])) and epoch < train.epochs:
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
    task, epoch, processes = state.task, state.epoch + 1, state.processes
    batch_size = train_batch_size(train, data.info.num_train)
    task.model.train()
    for module in frozen:
        module.eval()
    task.begin_epoch(state.epoch)
    for batch in _batches_left(state, data):
        part = _part_of_update(state.batches, len(data.train), train.grad_accum_steps)
        # Before the update: a preempted epoch then has updates left, and a complete one is still evaluated.
        if part.begins and is_preempted():
            return False
        with state.precision.autocast():
            loss = task.loss(batch, state.mixing)
        if processes.size > 1:
            loss = loss * processes.weight(len(batch[1]), of=batch_size)
        scaled = loss if part.of == 1 else loss / part.of
        state.precision.update(scaled, state.optimizer, task.model, train, begins=part.begins, ends=part.ends)
        state.batches += 1
        if part.ends:
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


@dataclass(frozen=True)
class _PartOfUpdate:
    """A batch among those whose gradients make one update; `of` is their number."""

    begins: bool
    ends: bool
    of: int


def _part_of_update(batch: int, num_batches: int, accumulated: int) -> _PartOfUpdate:
    """Place of a batch, counted from 0 in its epoch; as timm's, an epoch's last update has what is left."""
    first = batch // accumulated * accumulated
    size = min(accumulated, num_batches - first)
    return _PartOfUpdate(batch == first, batch == first + size - 1, size)


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


def _check_finite(total: torch.Tensor, epoch: int) -> None:
    value = total.item()
    if not math.isfinite(value):
        raise NonFiniteLoss(epoch, value)


def _trained_batchnorms(encoder: nn.Module, frozen: Collection[str]) -> list[nn.Module]:
    """BatchNorms inside attention maps, without those of frozen modules, whose names an average has behind its own."""
    found = attention_batchnorms(encoder)
    if not frozen:
        return found
    names = {id(module): name for name, module in encoder.named_modules()}
    return [module for module in found if not any(f".{names[id(module)]}".endswith(f".{each}") for each in frozen)]


def _recalibrate(
    model: nn.Module, batchnorms: Sequence[nn.Module], data: Data, train: TrainSpec, precision: Precision
) -> None:
    recalibrate(model, batchnorms, data.calibration, num_batches=train.recalibrate_bn, autocast=precision.autocast())


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type != "cpu":
        torch.get_device_module(device).synchronize()
    return time.perf_counter()
