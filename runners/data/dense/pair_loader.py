"""Batches of images and label maps, or images and objects, that are read one by one.

Each pair is augmented with its own random stream (`augmentation/seeded_items.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, SequentialSampler

from runners.data.augmentation.seeded_items import SeededItems
from runners.data.dataset_info import Batch
from runners.data.random_streams import Seed, generator
from runners.data.sharding import Share, reading
from runners.data.shuffled_loader import ShuffledLoader
from runners.data.transfer import on_device

__all__ = ["PairBatches", "PairTrainBatches", "SeededPairs"]

Transform = Callable[[Any, Any], tuple[Tensor, Any]]
Collate = Callable[[list[Any]], Any]


class PairSource(Protocol):
    """Pairs with random access, as `LabelMaps`."""

    def __len__(self) -> int: ...

    def pair(self, index: int) -> tuple[Any, Any]: ...


class SeededPairs(SeededItems):
    """Pairs, each transformed with a random stream of its own."""

    def __init__(self, source: PairSource, transform: Transform, seed: Seed) -> None:
        super().__init__(seed)
        self._source = source
        self._transform = transform

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> tuple[Any, Any]:
        return self._source.pair(index)

    def augmented(self, item: tuple[Any, Any]) -> tuple[Tensor, Any]:
        return self._transform(*item)


class PairTrainBatches(ShuffledLoader):
    """Shuffled, augmented batches of equal size (`TrainBatches`): images (B, C, H, W), classes (B, H, W) int64.

    Args:
        options: as of `ShuffledLoader`.
    """

    def __init__(self, source: PairSource, transform: Transform, *, seed: Seed, **options: Any) -> None:
        super().__init__(SeededPairs(source, transform, seed), seed=seed, **options)


class PairBatches:
    """Every pair once, in order, un-augmented (`EvalBatches`).

    Args:
        batch_size: 1 where the transform gives images of different sizes.
        collate: makes a batch of a list of pairs; None: stacks their tensors.
    """

    def __init__(
        self,
        source: PairSource,
        transform: Transform,
        *,
        device: torch.device,
        num_workers: int,
        batch_size: int = 1,
        share: Share | None = None,
        collate: Collate | None = None,
    ) -> None:
        self._device = device
        pairs = SeededPairs(source, transform, 0)
        order = SequentialSampler(pairs)
        self._loader = DataLoader(
            pairs,
            batch_size,
            sampler=order,
            num_workers=num_workers,
            collate_fn=collate,
            pin_memory=device.type == "cuda",
        )
        if share is not None:
            self._loader = reading(self._loader, order, share, drop_last=False)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        self._loader.generator = generator(0, "workers")
        yield from on_device(self._loader, self._device)
