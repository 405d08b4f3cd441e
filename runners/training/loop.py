"""The training loop: epochs of updates, an evaluation after each, and the question whether to go on.

It knows neither Ray nor Optuna nor labels: the task brings loss and metrics, `report` the answer to "stop now?".
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch.optim import Optimizer

from modelzoo import attention_batchnorms
from runners.data import Data, EvalBatches
from runners.data.random_streams import generator
from runners.outcome import NonFiniteLoss
from runners.tasks import Task
from runners.training.precision import Precision
from runners.training.recalibration import recalibrate
from search_space.metrics import METRICS
from search_space.specs import TrainSpec

__all__ = ["Report", "Trained", "train_model"]

Report = Callable[[dict[str, float]], bool]
"""Receives `{"epoch": n, "train_loss": ..., metrics}` after every epoch; True means: stop now."""

_CHECK_LOSS_EVERY = 100


@dataclass(frozen=True)
class Trained:
    """How a training went. `metrics` is empty for a pruned one."""

    status: Literal["completed", "pruned"]
    metrics: dict[str, float]
    curve: list[dict[str, float]]
    train_seconds: float


def train_model(
    task: Task, data: Data, train: TrainSpec, *, seed: int, device: torch.device, report: Report
) -> Trained:
    """Trains for `train.epochs` epochs or until `report` says stop.

    With a validation split every epoch is measured on it (`val_top1`, ...); the test split is measured after the last
    epoch (`top1`) and where a validation metric is the best so far (`top1@best_val`: the test metric at the epoch that
    `val_top1` chose). Without, every epoch is measured on the test split. Where weights are averaged, that is what is
    measured, and `top1@ema` says so. Stopping after the last epoch is completing.

    Raises:
        NonFiniteLoss: the training loss, or the loss on the measured split, is NaN or infinite.
    """
    precision = Precision(train.amp, device)
    optimizer = create_optimizer_v2(
        task.model,
        opt=train.opt,
        lr=train.lr,
        weight_decay=train.weight_decay,
        momentum=train.momentum,
        layer_decay=train.layer_decay,
    )
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched=train.sched,
        num_epochs=train.epochs,
        warmup_epochs=train.warmup_epochs,
        warmup_lr=train.warmup_lr,
        min_lr=train.min_lr,
        step_on_epochs=False,
        updates_per_epoch=len(data.train),
    )
    curve: list[dict[str, float]] = []
    seconds = 0.0
    found: dict[str, float] = {}
    chosen = _BestOnValidation()
    for epoch in range(1, train.epochs + 1):
        start = _now(device)
        train_loss = _train_epoch(task, data, train, epoch, optimizer, schedule, precision, seed)
        seconds += _now(device) - start
        _recalibrate(task, data, train, precision)
        if data.val is not None:
            on_val = _measure(task, data.val, precision, epoch)
            chosen.consider(on_val, lambda epoch=epoch: _measure(task, data.test, precision, epoch))
            found = {f"val_{name}": value for name, value in on_val.items()}
        else:
            found = _measure(task, data.test, precision, epoch)
        curve.append({"epoch": epoch, "train_loss": train_loss, **found})
        if report(dict(curve[-1])) and epoch < train.epochs:
            return Trained("pruned", {}, curve, seconds)
    if data.val is not None:
        found = {**_measure(task, data.test, precision, train.epochs), **found, **chosen.test_metrics}
    if train.ema_decay is not None:
        found |= {f"{name}@ema": found[name] for name in METRICS if name in found}
    return Trained("completed", found, curve, seconds)


class _BestOnValidation:
    """Test metrics at the epochs that the validation split chooses, each metric by its own validation value."""

    def __init__(self) -> None:
        self._best: dict[str, float] = {}
        self.test_metrics: dict[str, float] = {}

    def consider(self, on_val: dict[str, float], on_test: Callable[[], dict[str, float]]) -> None:
        """Measures the test split if an epoch is the best so far in some metric; the earliest of equals stays."""
        better = [name for name, value in on_val.items() if self._is_better(name, value)]
        if not better:
            return
        measured = on_test()
        self._best |= {name: on_val[name] for name in better}
        self.test_metrics |= {f"{name}@best_val": measured[name] for name in better}

    def _is_better(self, name: str, value: float) -> bool:
        if name not in self._best:
            return True
        return value > self._best[name] if METRICS[name].direction == "maximize" else value < self._best[name]


def _train_epoch(
    task: Task,
    data: Data,
    train: TrainSpec,
    epoch: int,
    optimizer: Optimizer,
    schedule: Any,
    precision: Precision,
    seed: int,
) -> float:
    """Mean training loss over the epoch's updates."""
    task.model.train()
    mixing = generator(seed, "mixing", epoch)
    total = torch.zeros((), dtype=torch.float64, device=next(task.model.parameters()).device)
    num_batches = 0
    num_updates = (epoch - 1) * len(data.train)
    for batch in data.train.epoch(epoch):
        with precision.autocast():
            loss = task.loss(batch, mixing)
        precision.update(loss, optimizer, task.model, clip_grad=train.clip_grad)
        num_batches += 1
        task.after_update(num_updates + num_batches)
        if schedule is not None:
            schedule.step_update(num_updates + num_batches)
        total += loss.detach()
        # Reading the loss waits for the GPU; now and then is enough to leave a long, lost epoch early.
        if num_batches % _CHECK_LOSS_EVERY == 0:
            _check_finite(total, epoch)
    assert num_batches > 0, "an epoch without batches"
    _check_finite(total, epoch)
    return total.item() / num_batches


def _check_finite(total: torch.Tensor, epoch: int) -> None:
    value = total.item()
    if not math.isfinite(value):
        raise NonFiniteLoss(epoch, value)


def _recalibrate(task: Task, data: Data, train: TrainSpec, precision: Precision) -> None:
    model = task.evaluated_model
    recalibrate(
        model,
        attention_batchnorms(model),
        data.calibration,
        num_batches=train.recalibrate_bn,
        autocast=precision.autocast(),
    )


def _measure(task: Task, batches: EvalBatches, precision: Precision, epoch: int) -> dict[str, float]:
    found = task.metrics(batches, precision.autocast())
    if not all(math.isfinite(value) for value in found.values()):
        raise NonFiniteLoss(epoch, found.get("loss", math.nan))
    return found


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
