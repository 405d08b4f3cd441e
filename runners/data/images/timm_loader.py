"""Batches of a dataset too large for memory: timm's loader with timm's augmentation.

timm's transforms draw from global generators. Each image gets its own stream, named by the trial's seed, the epoch
and the image, so that augmentation depends neither on the number of loader workers nor on the dropout of the
architecture. The images of a stream are known by their shard and their position in it; this process reads them in its
own order (`streams/order.py`), and the loader's workers decode and augment them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from timm.data import create_loader
from torch.utils.data import DataLoader, Dataset, Subset

from runners.data.augmentation.pipeline import Whole, training_transform
from runners.data.augmentation.repeats import Copy, RepeatedOrder
from runners.data.dataset_info import Batch, DataInfo
from runners.data.decoding import pil_mode
from runners.data.evaluation_crop import EvaluationCrop
from runners.data.random_streams import generator, global_streams, stream_seed
from runners.data.sharding import Share, reading
from runners.data.shuffled_loader import begin_epoch
from runners.data.streams.images import StreamImages
from runners.data.streams.order import EpochOrder, FileOrder
from runners.data.streams.sample_stream import Sample, SampleStream
from search_space.schema.trial import TrainSpec

__all__ = ["LoaderBatches", "LoaderTrainBatches", "subset"]


class LoaderTrainBatches:
    """Shuffled, augmented batches of equal size (`TrainBatches`).

    Args:
        whole: images that are not cropped at random; None: a part of each is taken.
    """

    def __init__(
        self,
        dataset: Dataset | SampleStream,
        *,
        info: DataInfo,
        img_size: tuple[int, int],
        batch_size: int,
        device: torch.device,
        seed: int,
        train: TrainSpec,
        num_workers: int,
        share: Share | None = None,
        whole: Whole | None = None,
    ) -> None:
        self._seed = seed
        self._device = device
        self._images = _SeededImages(dataset, info, seed)
        self._loader: Any = create_loader(
            self._images,  # pyright: ignore[reportArgumentType]
            input_size=(info.in_chans, *img_size),
            batch_size=batch_size,
            is_training=True,
            **_shared(info, num_workers, device),
        )
        self._images.transform = training_transform(train, info, img_size, whole=whole)
        is_stream = isinstance(dataset, SampleStream)
        self._order: Any = EpochOrder(dataset, seed) if is_stream else self._loader.sampler
        if train.aug_repeats:
            assert not is_stream, "images of a stream come once"
            self._order = RepeatedOrder(len(self._images), seed=seed, repeats=train.aug_repeats)
        if is_stream or train.aug_repeats or share is not None:
            self._loader = reading(self._loader, self._order, share, drop_last=True)

    def __len__(self) -> int:
        return len(self._loader)

    def epoch(self, number: int) -> Iterator[Batch]:
        begin_epoch(self._loader, self._images, self._order, seed=self._seed, number=number)
        yield from _on_device(self._loader, self._device)


class LoaderBatches:
    """Batches with every image once, in order, with timm's evaluation transform (`EvalBatches`).

    Args:
        crop: of an evaluation; default: the middle of the image, its shorter side scaled to `img_size`.
    """

    def __init__(
        self,
        dataset: Dataset | SampleStream,
        *,
        info: DataInfo,
        img_size: tuple[int, int],
        batch_size: int,
        device: torch.device,
        num_workers: int,
        share: Share | None = None,
        crop: EvaluationCrop | None = None,
    ) -> None:
        crop = crop or EvaluationCrop(img_size)
        self._device = device
        self._loader: Any = create_loader(
            _SeededImages(dataset, info, 0),  # pyright: ignore[reportArgumentType]
            input_size=(info.in_chans, *crop.img_size),
            batch_size=batch_size,
            is_training=False,
            crop_pct=crop.crop_pct,
            crop_mode=crop.mode,
            interpolation=crop.interpolation,
            **_shared(info, num_workers, device),
        )
        is_stream = isinstance(dataset, SampleStream)
        if is_stream or share is not None:
            order = FileOrder(dataset) if is_stream else self._loader.sampler
            self._loader = reading(self._loader, order, share, drop_last=False)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        # The loader draws a seed for its workers from the global generator unless it has one of its own.
        self._loader.generator = generator(0, "workers")
        yield from _on_device(self._loader, self._device)


class _SeededImages(Dataset):
    """Dataset whose item i is transformed with the stream of (seed, epoch, i); of a stream, i is a sample, and of
    repeated images one of the copies."""

    def __init__(self, dataset: Any, info: DataInfo, seed: int) -> None:
        is_stream = isinstance(dataset, SampleStream)
        self._dataset: Any = StreamImages(dataset, info.in_chans, info.num_classes) if is_stream else dataset
        self._mode = pil_mode(info.in_chans)
        self._seed = seed
        self.epoch = 0
        self.transform: Callable[[Any], Any] | None = None  # set by create_loader

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int | Sample | Copy) -> tuple[Any, int]:
        image, label = self._dataset[index.image if isinstance(index, Copy) else index]
        assert self.transform is not None
        names = _names_of(index)
        with global_streams(stream_seed(self._seed, "augmentation", self.epoch, *names)):
            return self.transform(image.convert(self._mode)), label


def _names_of(index: int | Sample | Copy) -> tuple[str | int, ...]:
    """What names the stream of an item beside the trial's seed and the epoch."""
    if isinstance(index, Sample):
        return index.shard, index.index
    return (index.image, index.number) if isinstance(index, Copy) else (index,)


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
        if isinstance(images, list):  # splits of the augmentation, (B, C, H, W) each: (S * B, C, H, W)
            images = torch.cat(images)
        yield images.to(device, non_blocking=True), torch.as_tensor(labels).to(device, non_blocking=True)


def subset(dataset: Any, indices: Any) -> Subset:
    """Subset of a dataset with random access."""
    return Subset(dataset, [int(index) for index in indices])
