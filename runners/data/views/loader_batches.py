"""Batches of views of images that are read one by one, each at its own size; workers read, cut out and adjust.

The images of a stream are known by their shard and their position in it, as in `images/timm_loader.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from runners.data.dataset_info import Batch, DataInfo
from runners.data.decoding import in_mode
from runners.data.random_streams import generator
from runners.data.sharding import Share, reading
from runners.data.streams.images import StreamImages
from runners.data.streams.order import EpochOrder
from runners.data.streams.sample_stream import Sample, SampleStream
from runners.data.views.crops import Crops
from runners.data.views.drawing import MultiCrop, draw_views
from runners.data.views.making import make_views

__all__ = ["LoaderViewBatches"]


class LoaderViewBatches:
    """Shuffled batches of equal size (`TrainBatches`): `Crops` and labels (B,); images that fill no batch are left out
    that epoch.

    Args:
        dataset: of PIL images and labels, with random access, or a stream.
        batch_size: of all processes together.
        share: positions of this process's images in every batch; None: all.
    """

    def __init__(
        self,
        dataset: Dataset | SampleStream,
        crop: MultiCrop,
        *,
        info: DataInfo,
        batch_size: int,
        device: torch.device,
        seed: int,
        num_workers: int,
        share: Share | None = None,
    ) -> None:
        self._seed = seed
        self._device = device
        self._views = _ViewsOfImages(dataset, crop, info, seed)
        is_stream = isinstance(dataset, SampleStream)
        self._order = EpochOrder(dataset, seed) if is_stream else RandomSampler(self._views)
        self._loader: Any = DataLoader(
            self._views,
            batch_size,
            sampler=self._order,
            drop_last=True,
            num_workers=num_workers,
            collate_fn=_collated,
            pin_memory=device.type == "cuda",
        )
        if share is not None:
            self._loader = reading(self._loader, self._order, share, drop_last=True)

    def __len__(self) -> int:
        return len(self._loader)

    def epoch(self, number: int) -> Iterator[Batch]:
        self._views.epoch = number  # workers are forked again every epoch, so that they have it
        if isinstance(self._order, EpochOrder):
            self._order.epoch = number
        else:
            self._order.generator = generator(self._seed, "order", number)
        # The loader draws a seed for its workers from the global generator unless it has one of its own.
        self._loader.generator = generator(self._seed, "workers", number)
        for crops, labels in self._loader:
            yield crops.to(self._device, non_blocking=True), labels.to(self._device, non_blocking=True)


class _ViewsOfImages(Dataset):
    """Dataset whose item is the views of an image, and its label."""

    def __init__(self, dataset: Any, crop: MultiCrop, info: DataInfo, seed: int) -> None:
        is_stream = isinstance(dataset, SampleStream)
        self._dataset: Any = StreamImages(dataset, info.in_chans, info.num_classes) if is_stream else dataset
        self._in_chans = info.in_chans
        self._crop = crop
        self._normalisation = {"mean": torch.tensor(info.mean), "std": torch.tensor(info.std)}
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int | Sample) -> tuple[tuple[Tensor, Tensor], int]:
        image, label = self._dataset[index]
        array = np.array(in_mode(image, self._in_chans))
        pixels = torch.from_numpy(array.reshape(*array.shape[:2], self._in_chans)).permute(2, 0, 1)
        names = (index.shard, index.index) if isinstance(index, Sample) else (index,)
        draws = draw_views(self._crop, array.shape[:2], self._seed, self.epoch, *names)
        crops = make_views([pixels], [draws], self._crop, **self._normalisation)
        return (crops.global_views[0], crops.local_views[0]), int(label)


def _collated(items: list[tuple[tuple[Tensor, Tensor], int]]) -> tuple[Crops, Tensor]:
    views, labels = zip(*items, strict=True)
    return Crops.stack(views), torch.tensor(labels)
