"""Learning rate of a training: timm's schedule for it, and its values at the updates that a reader asks for.

timm runs its schedules under the warm-up: a cosine is already on its way down when the warm-up ends, at less than `lr`.
With `train.warmup_prefix` it begins there. Unlike timm's option of that name, the training keeps its `epochs`: the
schedule is shortened by the warm-up, so that variants with and without it train equally long. So it is by
`cooldown_epochs`, and by cycles (`lr_cycle_limit`), which timm adds to the epochs, too. `sched: dino` is that of
DINO's code: its warm-up includes `lr` as the last value, and the cosine counts updates, not epochs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from timm.scheduler import create_scheduler_v2

from modelzoo.self_supervised.schedules import cosine_schedule
from search_space.schema.trial import TrainSpec

__all__ = ["WeightDecay", "learning_rates", "make_schedule", "peak_learning_rate"]


_NOISE_SEED = 42
"""timm's, where no trial's seed is known: for the rates that a plan shows."""


class Schedule(Protocol):
    """Learning rates of an optimiser as a function of the number of updates; constructed, it has set the first."""

    def step_update(self, num_updates: int) -> None: ...


class _DinoSchedule:
    def __init__(self, optimizer: Any, train: TrainSpec, *, updates_per_epoch: int) -> None:
        self._optimizer = optimizer
        self._values = {
            "base": train.peak_lr,
            "final": train.min_lr,
            "start": train.warmup_lr,
            "num_updates": train.epochs * updates_per_epoch,
            "warmup_updates": train.warmup_epochs * updates_per_epoch,
        }
        self.step_update(0)

    def step_update(self, num_updates: int) -> None:
        rate = cosine_schedule(num_updates, **self._values)
        for group in self._optimizer.param_groups:  # other objects after a resume
            group["lr"] = rate * group.get("lr_scale", 1.0)  # timm's, of layer decay


class WeightDecay:
    """Weight decay that goes from `weight_decay` to `weight_decay_end` by a cosine over all updates (DINO).

    Groups of parameters without weight decay keep none. `step_update` as of a schedule.
    """

    def __init__(self, optimizer: Any, train: TrainSpec, *, updates_per_epoch: int) -> None:
        self._optimizer = optimizer
        self._has_any = [bool(group.get("weight_decay")) for group in optimizer.param_groups]
        self._first, self._last = train.weight_decay, train.weight_decay_end
        self._num_updates = train.epochs * updates_per_epoch

    def step_update(self, num_updates: int) -> None:
        if self._last is None:
            return
        value = cosine_schedule(num_updates, base=self._first, final=self._last, num_updates=self._num_updates)
        for group, has_any in zip(self._optimizer.param_groups, self._has_any, strict=True):
            group["weight_decay"] = value if has_any else 0.0


class _ByEpoch:
    """timm's schedule that moves after every epoch (`sched_on_updates: false`)."""

    def __init__(self, schedule: Any, *, updates_per_epoch: int) -> None:
        self._schedule = schedule
        self._updates_per_epoch = updates_per_epoch

    def step_update(self, num_updates: int) -> None:
        self._schedule.step(num_updates // self._updates_per_epoch)


def make_schedule(
    optimizer: Any, train: TrainSpec, *, updates_per_epoch: int, noise_seed: int = _NOISE_SEED
) -> Schedule | None:
    """Schedule over all updates of the training; None for `sched: none`.

    Args:
        noise_seed: of `lr_noise`; the trial's seed, as timm's train.py has it.

    Raises:
        ValueError: timm refuses the lengths.
    """
    if train.sched == "dino":
        return _DinoSchedule(optimizer, train, updates_per_epoch=updates_per_epoch)
    decays: dict[str, Any] = {} if train.decay_epochs is None else {"decay_epochs": train.decay_epochs}
    if train.decay_milestones:
        decays["decay_milestones"] = train.decay_milestones
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched=train.sched,
        num_epochs=_epochs_of_first_cycle(train),  # pyright: ignore[reportArgumentType]
        warmup_epochs=train.warmup_epochs,
        warmup_prefix=train.warmup_prefix,
        warmup_lr=train.warmup_lr,
        min_lr=train.min_lr,
        decay_rate=train.decay_rate,
        **decays,
        cooldown_epochs=train.cooldown_epochs,
        cycle_mul=train.lr_cycle_mul,
        cycle_decay=train.lr_cycle_decay,
        cycle_limit=train.lr_cycle_limit,
        k_decay=train.lr_k_decay,
        noise=None if train.lr_noise is None else list(train.lr_noise),  # pyright: ignore[reportArgumentType]
        noise_pct=train.lr_noise_pct,
        noise_std=train.lr_noise_std,
        noise_seed=noise_seed,
        step_on_epochs=not train.sched_on_updates,
        updates_per_epoch=updates_per_epoch,
    )
    if train.sched_on_updates or schedule is None:
        return schedule
    return _ByEpoch(schedule, updates_per_epoch=updates_per_epoch)


def _epochs_of_first_cycle(train: TrainSpec) -> float:
    """Epochs of the schedule's first cycle, so that all, the cooldown and a warm-up before them are `epochs`."""
    left = train.epochs - train.cooldown_epochs - (train.warmup_epochs if train.warmup_prefix else 0)
    if train.lr_cycle_limit == 1:
        return left
    return left / sum(train.lr_cycle_mul**number for number in range(train.lr_cycle_limit))


def learning_rates(train: TrainSpec, updates: Iterable[int], *, updates_per_epoch: int) -> list[float]:
    """Learning rates of some updates, counted from 0, without layer decay."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=train.peak_lr)
    schedule = make_schedule(optimizer, train, updates_per_epoch=updates_per_epoch)
    rates: list[float] = []
    for update in updates:
        if schedule is not None:
            schedule.step_update(update)
        rates.append(float(optimizer.param_groups[0]["lr"]))
    return rates


def peak_learning_rate(train: TrainSpec, *, updates_per_epoch: int) -> float:
    """Largest learning rate of the training, without its noise: a schedule rises in its warm-up and where a cycle
    begins only."""
    end, last = train.warmup_epochs * updates_per_epoch, train.epochs * updates_per_epoch - 1
    starts = [math.ceil(epoch * updates_per_epoch) for epoch in _starts_of_cycles(train)]
    updates = sorted({min(max(0, update), last) for update in (0, end - 1, end, *starts)})
    without_noise = train.model_copy(update={"lr_noise": None})
    return max(learning_rates(without_noise, updates, updates_per_epoch=updates_per_epoch))


def _starts_of_cycles(train: TrainSpec) -> Iterator[float]:
    """Epochs, as fractions, at which the cycles after the first one begin."""
    length, epoch = _epochs_of_first_cycle(train), float(train.warmup_epochs if train.warmup_prefix else 0)
    for _ in range(train.lr_cycle_limit - 1):
        epoch += length
        length *= train.lr_cycle_mul
        yield epoch
