"""Batches of views of images that are read one by one, each at its own size; workers read, cut out and adjust.

The images of a stream are known by their shard and their position in it, as in `images/timm_loader.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from runners.data.dataset_info import DataInfo
from runners.data.decoding import in_mode
from runners.data.random_streams import Seed
from runners.data.shuffled_loader import ShuffledLoader
from runners.data.streams.images import StreamImages
from runners.data.streams.order import EpochOrder
from runners.data.streams.sample_stream import Sample, SampleStream
from runners.data.views.crops import Crops
from runners.data.views.drawing import MultiCrop, draw_views
from runners.data.views.making import make_views

__all__ = ["LoaderViewBatches"]


class LoaderViewBatches(ShuffledLoader):
    """Shuffled batches of equal size (`TrainBatches`): `Crops` and labels (B,).

    Args:
        dataset: of PIL images and labels, with random access, or a stream.
        options: as of `ShuffledLoader`.
    """

    def __init__(
        self, dataset: Dataset | SampleStream, crop: MultiCrop, *, info: DataInfo, seed: Seed, **options: Any
    ) -> None:
        order = EpochOrder(dataset, seed) if isinstance(dataset, SampleStream) else None
        views = _ViewsOfImages(dataset, crop, info, seed)
        super().__init__(views, seed=seed, collate=_collated, order=order, **options)


class _ViewsOfImages(Dataset):
    """Dataset whose item is the views of an image, and its label."""

    def __init__(self, dataset: Any, crop: MultiCrop, info: DataInfo, seed: Seed) -> None:
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
