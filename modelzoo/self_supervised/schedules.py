"""Schedules of DINO's loop: cosine by update (learning rate, weight decay, momentum), teacher temperature by epoch.

Source:  written from a description of the released schedules; checked against recorded values.
Note:    as released, the warm-up includes its last value, so that the peak occurs twice, and the cosine never quite
         reaches its end: update i of N after the warm-up has the value at i / N.
"""

from __future__ import annotations

import math

__all__ = ["cosine_schedule", "teacher_temperature"]


def cosine_schedule(
    update: int, *, base: float, final: float, num_updates: int, warmup_updates: int = 0, start: float = 0.0
) -> float:
    """Value for an update, counted from 0: linear from `start` to `base`, then half a cosine from `base` to `final`.

    `cosine_schedule(5, base=1.0, final=0.0, num_updates=10)` is 0.5.

    Args:
        update: Below `num_updates`; that number itself has the value `final`.

    Raises:
        ValueError: an update beyond the last.
    """
    if not 0 <= update <= num_updates:
        raise ValueError(f"a schedule of {num_updates} updates has none with number {update}")
    if update == num_updates:
        return final
    if update < warmup_updates:
        return _evenly_spaced(start, base, warmup_updates, update)
    progress = (update - warmup_updates) / (num_updates - warmup_updates)
    return final + 0.5 * (base - final) * (1 + math.cos(math.pi * progress))


def teacher_temperature(epoch: int, *, start: float, final: float, warmup_epochs: int) -> float:
    """Temperature of an epoch, counted from 0: linear over the warm-up, whose last epoch has the final value.

    `[teacher_temperature(e, start=0.04, final=0.07, warmup_epochs=4) for e in range(5)]` is, but for rounding,
    `[0.04, 0.05, 0.06, 0.07, 0.07]`.
    """
    return _evenly_spaced(start, final, warmup_epochs, epoch) if epoch < warmup_epochs else final


def _evenly_spaced(first: float, last: float, count: int, index: int) -> float:
    """One of `count` values from `first` to `last`, both included; of a single one, `first` (as numpy.linspace)."""
    if index > 0 and index == count - 1:
        return last
    return first + index * ((last - first) / max(count - 1, 1))
