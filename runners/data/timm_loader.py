"""Batches of a dataset too large for memory: timm's loader with timm's augmentation.

timm's transforms draw from global generators. Each image gets its own stream, named by the trial's seed, the epoch
and the image, so that augmentation depends neither on the number of loader workers nor on the dropout of the
architecture. Streamed datasets have no image numbers; there the images that a worker has read are counted instead, and
the order is that of the reader, the same for all seeds of a sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from timm.data import create_loader
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, Subset, get_worker_info

from runners.data.dataset_info import Batch, DataInfo
from runners.data.decoding import pil_mode
from runners.data.random_streams import generator, global_streams, stream_seed
from runners.data.sharding import Share, reading_shares
from search_space.schema.trial import TrainSpec

__all__ = ["LoaderBatches", "LoaderTrainBatches", "subset"]


class LoaderTrainBatches:
    """Shuffled, augmented batches of equal size (`TrainBatches`)."""

    def __init__(
        self,
        dataset: Dataset,
        *,
        info: DataInfo,
        img_size: tuple[int, int],
        batch_size: int,
        device: torch.device,
        seed: int,
        train: TrainSpec,
        num_workers: int,
        share: Share | None = None,
    ) -> None:
        self._seed = seed
        self._device = device
        self._dataset = dataset
        is_stream = isinstance(dataset, IterableDataset)
        self._images = None if is_stream else _SeededImages(dataset, info.in_chans, seed)
        self._loader: Any = create_loader(
            dataset if self._images is None else self._images,  # pyright: ignore[reportArgumentType]
            input_size=(info.in_chans, *img_size),
            batch_size=batch_size,
            is_training=True,
            re_prob=train.reprob,
            hflip=train.hflip,
            color_jitter=train.color_jitter,
            auto_augment=train.aa,
            **_shared(info, num_workers, device),
        )
        self._sampler = self._loader.sampler
        if share is not None:
            assert not is_stream, "streams are sharded batch by batch"
            self._loader = reading_shares(self._loader, share, drop_last=True)
        self._stream_transform = _SeededTransform(dataset.transform, seed) if is_stream else None  # pyright: ignore
        if is_stream:
            dataset.transform = self._stream_transform  # pyright: ignore[reportAttributeAccessIssue]

    def __len__(self) -> int:
        return len(self._loader)

    def epoch(self, number: int) -> Iterator[Batch]:
        if self._images is not None:
            self._images.epoch = number
            assert isinstance(self._sampler, RandomSampler)
            self._sampler.generator = generator(self._seed, "order", number)
        elif hasattr(self._dataset, "set_epoch"):
            assert self._stream_transform is not None
            self._stream_transform.begin(number)
            self._dataset.set_epoch(number)  # pyright: ignore[reportAttributeAccessIssue]
        self._loader.generator = generator(self._seed, "workers", number)
        yield from _on_device(self._loader, self._device)


class LoaderBatches:
    """Batches with every image once, in order, with timm's evaluation transform (`EvalBatches`)."""

    def __init__(
        self,
        dataset: Dataset,
        *,
        info: DataInfo,
        img_size: tuple[int, int],
        batch_size: int,
        device: torch.device,
        num_workers: int,
        share: Share | None = None,
    ) -> None:
        self._device = device
        is_stream = isinstance(dataset, IterableDataset)
        self._loader: Any = create_loader(
            dataset if is_stream else _SeededImages(dataset, info.in_chans, 0),  # pyright: ignore[reportArgumentType]
            input_size=(info.in_chans, *img_size),
            batch_size=batch_size,
            is_training=False,
            crop_pct=1.0,
            **_shared(info, num_workers, device),
        )
        if share is not None:
            self._loader = reading_shares(self._loader, share, drop_last=False)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        # The loader draws a seed for its workers from the global generator unless it has one of its own.
        self._loader.generator = generator(0, "workers")
        yield from _on_device(self._loader, self._device)


class _SeededImages(Dataset):
    """Dataset whose item i is transformed with the stream of (seed, epoch, i)."""

    def __init__(self, dataset: Any, in_chans: int, seed: int) -> None:
        self._dataset = dataset
        self._mode = pil_mode(in_chans)
        self._seed = seed
        self.epoch = 0
        self.transform: Callable[[Any], Any] | None = None  # set by create_loader

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = self._dataset[index]
        assert self.transform is not None
        with global_streams(stream_seed(self._seed, "augmentation", self.epoch, index)):
            return self.transform(image.convert(self._mode)), label


class _SeededTransform:
    """Transform for streamed datasets: image k of a worker uses the stream of (seed, epoch, worker, k)."""

    def __init__(self, transform: Callable[[Any], Any], seed: int) -> None:
        self._transform = transform
        self._seed = seed
        self._seen = 0
        self._epoch = 0

    def begin(self, epoch: int) -> None:
        """Start `epoch` and count its images from 0, so that an epoch depends on its number only."""
        self._epoch = epoch
        self._seen = 0

    def __call__(self, image: Any) -> Any:
        worker = get_worker_info()
        self._seen += 1
        names = ("augmentation", self._epoch, 0 if worker is None else worker.id, self._seen)
        with global_streams(stream_seed(self._seed, *names)):
            return self._transform(image)


def _shared(info: DataInfo, num_workers: int, device: torch.device) -> dict[str, Any]:
    return {
        "mean": info.mean,
        "std": info.std,
        "num_workers": num_workers,
        "device": device,
        "pin_memory": device.type == "cuda",
        # The prefetcher erases on the device, with the global generators; and it needs a GPU.
        "use_prefetcher": False,
        # Workers are forked again every epoch, so that they have its number.
        "persistent_workers": False,
    }


def _on_device(loader: DataLoader, device: torch.device) -> Iterator[Batch]:
    for images, labels in loader:
        yield images.to(device, non_blocking=True), torch.as_tensor(labels).to(device, non_blocking=True)


def subset(dataset: Any, indices: Any) -> Subset:
    """Subset of a dataset with random access."""
    return Subset(dataset, [int(index) for index in indices])
