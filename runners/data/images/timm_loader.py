"""Batches of a dataset too large for memory: timm's loader with timm's augmentation.

timm's transforms draw from global generators. Each image gets its own stream (`augmentation/seeded_items.py`). The
images of a stream are known by their shard and their position in it; this process reads them in its own order
(`streams/order.py`), and the loader's workers decode and augment them.

An image's pixels stay bytes, unless it is split, and the batch is normalised as a whole, with the same bits
(`model_inputs.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from timm.data import create_loader, create_transform
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from runners.data.augmentation.erasing import Erased, erase
from runners.data.augmentation.pipeline import Whole, can_be_bytes, training_transform
from runners.data.augmentation.repeats import Copy, RepeatedOrder
from runners.data.augmentation.seeded_items import SeededItems
from runners.data.dataset_info import Batch, DataInfo
from runners.data.decoding import pil_mode
from runners.data.evaluation_crop import EvaluationCrop
from runners.data.model_inputs import ModelInputs
from runners.data.random_streams import Seed, generator
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
        seed: Seed,
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
            collate_fn=_collate(train, info, img_size),
            **_shared(info, num_workers, device),
        )
        self._images.transform = training_transform(train, info, img_size, whole=whole, to_bytes=can_be_bytes(train))
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
        images, input_size = _SeededImages(dataset, info, 0), (info.in_chans, *crop.img_size)
        self._loader: Any = create_loader(
            images,  # pyright: ignore[reportArgumentType]
            input_size=input_size,
            batch_size=batch_size,
            is_training=False,
            collate_fn=_NormalisedBatch(info, crop.img_size),
            **_shared(info, num_workers, device),
        )
        images.transform = create_transform(
            input_size,
            is_training=False,
            crop_pct=crop.crop_pct,
            crop_mode=crop.mode,
            interpolation=crop.interpolation,
            mean=info.mean,
            std=info.std,
            use_prefetcher=True,  # pixels stay bytes
        )  # pyright: ignore[reportAttributeAccessIssue]
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


class _SeededImages(SeededItems):
    """Images and labels; an item of a stream is a sample, and of repeated images one of the copies."""

    def __init__(self, dataset: Any, info: DataInfo, seed: Seed) -> None:
        super().__init__(seed)
        is_stream = isinstance(dataset, SampleStream)
        self._dataset: Any = StreamImages(dataset, info.in_chans, info.num_classes) if is_stream else dataset
        self._mode = pil_mode(info.in_chans)
        self.transform: Callable[[Any], Any] | None = None  # set by create_loader

    def __len__(self) -> int:
        return len(self._dataset)

    def read(self, index: int | Sample | Copy) -> tuple[Any, int]:
        return self._dataset[index.image if isinstance(index, Copy) else index]

    def augmented(self, item: tuple[Any, int]) -> tuple[Any, int]:
        image, label = item
        assert self.transform is not None
        # Pillow copies an image that has the mode already.
        return self.transform(image if image.mode == self._mode else image.convert(self._mode)), label

    def names_of(self, index: int | Sample | Copy) -> tuple[str | int, ...]:
        if isinstance(index, Sample):
            return index.shard, index.index
        return (index.image, index.number) if isinstance(index, Copy) else (index,)


class _NormalisedBatch:
    """Makes a batch of images (C, H, W) of bytes, and their labels."""

    def __init__(self, info: DataInfo, img_size: tuple[int, int]) -> None:
        self._inputs = ModelInputs(info, img_size, torch.device("cpu"))

    def __call__(self, items: list[tuple[Any, int]]) -> tuple[Tensor, Tensor]:
        pixels, labels = default_collate(items)
        return self._inputs.of(pixels), labels


class _ErasedBatch(_NormalisedBatch):
    """The same of images that come with what is to be erased of them."""

    def __call__(self, items: list[tuple[tuple[Tensor, Erased], int]]) -> tuple[Tensor, Tensor]:
        images, labels = super().__call__([(pixels, label) for (pixels, _), label in items])
        for image, ((_, erased), _) in zip(images, items, strict=True):
            erase(image, erased)
        return images, labels


def _collate(train: TrainSpec, info: DataInfo, img_size: tuple[int, int]) -> Callable[[list[Any]], Any]:
    """What makes a batch of images as `training_transform` leaves them."""
    if not can_be_bytes(train):
        return default_collate
    return (_ErasedBatch if train.reprob else _NormalisedBatch)(info, img_size)


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
