"""Learning rate of a training: timm's schedule for it, and its values at the updates that a reader asks for.

timm runs its schedules under the warm-up: a cosine is already on its way down when the warm-up ends, at less than `lr`.
With `train.warmup_prefix` it begins there. Unlike timm's option of that name, the training keeps its `epochs`: the
schedule is shortened by the warm-up, so that variants with and without it train equally long.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler

from runners.data import train_batch_size
from search_space.schema.trial import TrainSpec

__all__ = ["learning_rates", "make_schedule", "peak_learning_rate", "updates_of_an_epoch"]


def updates_of_an_epoch(train: TrainSpec, num_train: int) -> int:
    """Optimiser steps of an epoch: those of `train.steps`, else of `num_train` images (at least 1)."""
    if train.steps is not None:
        return train.steps // train.epochs
    return max(1, num_train // max(1, train_batch_size(train, num_train)))


def make_schedule(optimizer: Any, train: TrainSpec, *, updates_per_epoch: int) -> Scheduler | None:
    """timm's schedule over all updates of the training; None for `sched: none`.

    Raises:
        ValueError: timm refuses the lengths.
    """
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched=train.sched,
        num_epochs=train.epochs - (train.warmup_epochs if train.warmup_prefix else 0),
        warmup_epochs=train.warmup_epochs,
        warmup_prefix=train.warmup_prefix,
        warmup_lr=train.warmup_lr,
        min_lr=train.min_lr,
        decay_rate=train.decay_rate,
        step_on_epochs=False,
        updates_per_epoch=updates_per_epoch,
    )
    return schedule


def learning_rates(train: TrainSpec, updates: Iterable[int], *, updates_per_epoch: int) -> list[float]:
    """Learning rates of some updates, counted from 0, without layer decay."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=train.lr)
    schedule = make_schedule(optimizer, train, updates_per_epoch=updates_per_epoch)
    rates: list[float] = []
    for update in updates:
        if schedule is not None:
            schedule.step_update(update)
        rates.append(float(optimizer.param_groups[0]["lr"]))
    return rates


def peak_learning_rate(train: TrainSpec, *, updates_per_epoch: int) -> float:
    """Largest learning rate of the training: no schedule rises after its warm-up."""
    end, last = train.warmup_epochs * updates_per_epoch, train.epochs * updates_per_epoch - 1
    updates = sorted({min(max(0, update), last) for update in (0, end - 1, end)})
    return max(learning_rates(train, updates, updates_per_epoch=updates_per_epoch))
