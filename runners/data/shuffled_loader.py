"""Shuffled batches of a dataset that workers read item by item.

The order of an epoch follows from the trial's seed and the epoch; what an item is may depend on the epoch as well, and
not on the worker that reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler

from runners.data.augmentation.repeats import RepeatedOrder
from runners.data.dataset_info import Batch
from runners.data.random_streams import Seed, generator
from runners.data.sharding import Share, reading
from runners.data.streams.order import EpochOrder
from runners.data.transfer import on_device

__all__ = ["ShuffledLoader", "begin_epoch"]


class ShuffledLoader:
    """Shuffled batches of equal size (`TrainBatches`); items that fill no batch are left out that epoch.

    Args:
        dataset: its attribute `epoch` is set to the number of the epoch.
        batch_size: of all processes together.
        share: positions of this process's items in every batch; None: all.
        collate: makes a batch of a list of items; None: stacks their tensors.
        order: of a stream; None: of a dataset with random access.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        batch_size: int,
        device: torch.device,
        seed: Seed,
        num_workers: int,
        share: Share | None = None,
        collate: Callable[[list[Any]], Any] | None = None,
        order: EpochOrder | None = None,
    ) -> None:
        assert isinstance(dataset, Dataset)
        self._dataset: Any = dataset
        self._seed = seed
        self._device = device
        self._order = RandomSampler(self._dataset) if order is None else order
        self._loader = DataLoader(
            self._dataset,
            batch_size,
            sampler=self._order,
            drop_last=True,
            num_workers=num_workers,
            collate_fn=collate,
            pin_memory=device.type == "cuda",
        )
        if share is not None:
            self._loader = reading(self._loader, self._order, share, drop_last=True)

    def __len__(self) -> int:
        return len(self._loader)

    def epoch(self, number: int) -> Iterator[Batch]:
        begin_epoch(self._loader, self._dataset, self._order, seed=self._seed, number=number)
        yield from on_device(self._loader, self._device)


def begin_epoch(loader: Any, dataset: Any, order: Any, *, seed: Seed, number: int) -> None:
    """Set a loader to an epoch: its items, their order, and the seeds of its workers."""
    dataset.epoch = number  # workers are forked again every epoch, so that they have it
    if isinstance(order, EpochOrder | RepeatedOrder):
        order.epoch = number
    else:
        assert isinstance(order, RandomSampler)
        order.generator = generator(seed, "order", number)
    # The loader draws a seed for its workers from the global generator unless it has one of its own.
    loader.generator = generator(seed, "workers", number)
