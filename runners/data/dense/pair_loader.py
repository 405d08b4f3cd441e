"""Batches of images and label maps, or images and objects, that are read one by one.

Each pair has its own random stream, named by the trial's seed, the epoch and the pair, so that the augmentation depends
neither on the number of loader workers nor on the dropout of the architecture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler

from runners.data.dataset_info import Batch
from runners.data.random_streams import generator, global_streams, stream_seed
from runners.data.sharding import Share, reading

__all__ = ["PairBatches", "PairTrainBatches", "SeededPairs"]

Transform = Callable[[Any, Any], tuple[Tensor, Any]]
Collate = Callable[[list[Any]], Any]


class PairSource(Protocol):
    """Pairs with random access, as `LabelMaps`."""

    def __len__(self) -> int: ...

    def pair(self, index: int) -> tuple[Any, Any]: ...


class SeededPairs(Dataset):
    """Dataset whose pair i is transformed with the stream of (seed, epoch, i)."""

    def __init__(self, source: PairSource, transform: Transform, seed: int) -> None:
        self._source = source
        self._transform = transform
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        image, target = self._source.pair(index)
        with global_streams(stream_seed(self._seed, "augmentation", self.epoch, index)):
            return self._transform(image, target)


class PairTrainBatches:
    """Shuffled, augmented batches of equal size (`TrainBatches`): images (B, C, H, W), classes (B, H, W) int64.

    Pairs that fill no batch are left out that epoch.

    Args:
        collate: makes a batch of a list of pairs; None: stacks their tensors.
    """

    def __init__(
        self,
        source: PairSource,
        transform: Transform,
        *,
        batch_size: int,
        device: torch.device,
        seed: int,
        num_workers: int,
        share: Share | None = None,
        collate: Collate | None = None,
    ) -> None:
        self._pairs = SeededPairs(source, transform, seed)
        self._sampler = RandomSampler(self._pairs)
        self._seed = seed
        self._device = device
        self._loader = DataLoader(
            self._pairs,
            batch_size,
            sampler=self._sampler,
            drop_last=True,
            num_workers=num_workers,
            collate_fn=collate,
            pin_memory=device.type == "cuda",
        )
        if share is not None:
            self._loader = reading(self._loader, self._sampler, share, drop_last=True)

    def __len__(self) -> int:
        return len(self._loader)

    def epoch(self, number: int) -> Iterator[Batch]:
        self._pairs.epoch = number  # workers are forked again every epoch, so that they have it
        self._sampler.generator = generator(self._seed, "order", number)
        # The loader draws a seed for its workers from the global generator unless it has one of its own.
        self._loader.generator = generator(self._seed, "workers", number)
        yield from _on_device(self._loader, self._device)


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
        yield from _on_device(self._loader, self._device)


def _on_device(loader: DataLoader, device: torch.device) -> Iterator[Batch]:
    for images, targets in loader:
        yield _moved(images, device), _moved(targets, device)


def _moved(content: Any, device: torch.device) -> Any:
    """The same with its tensors on the device."""
    if isinstance(content, Tensor):
        return content.to(device, non_blocking=True)
    if type(content) is list:
        return [_moved(each, device) for each in content]
    return {key: _moved(each, device) for key, each in content.items()} if isinstance(content, dict) else content
