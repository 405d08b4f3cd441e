"""Batches of views of images held in memory, made on the device where the pixels are.

Only this process's images of a batch are made: the views of an image depend on the seed, the epoch and the image alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from runners.data.dataset_info import Batch, DataInfo, ImageRows, Images, as_rows
from runners.data.random_streams import Seed, generator
from runners.data.sharding import Share
from runners.data.transfer import sent
from runners.data.views.drawing import MultiCrop, draw_views
from runners.data.views.making import make_views

__all__ = ["MemoryViewBatches"]


class MemoryViewBatches:
    """Shuffled batches of equal size (`TrainBatches`): `Crops` and labels (B,); images that fill no batch are left out
    that epoch.

    Args:
        batch_size: of all processes together.
        share: positions of this process's images in every batch; None: all.
    """

    def __init__(
        self,
        images: Images | ImageRows,
        crop: MultiCrop,
        *,
        info: DataInfo,
        batch_size: int,
        device: torch.device,
        seed: Seed,
        share: Share | None = None,
    ) -> None:
        held = as_rows(images)
        pixels = held.images.pixels.to(device)
        self._pixels = pixels if pixels.dtype == torch.uint8 else pixels.float()
        self._labels = held.images.labels.to(device)
        self._rows = held.rows
        self._crop = crop
        self._mean, self._std = (torch.tensor(values, device=device) for values in (info.mean, info.std))
        self._batch_size = batch_size
        self._seed = seed
        self._share = share

    def __len__(self) -> int:
        return len(self._rows) // self._batch_size

    def epoch(self, number: int) -> Iterator[Batch]:
        order = torch.randperm(len(self._rows), generator=generator(self._seed, "order", number))
        height, width = self._pixels.shape[-2:]
        for batch in range(len(self)):
            picked = order[batch * self._batch_size : (batch + 1) * self._batch_size]
            if self._share is not None:
                picked = picked[self._share(self._batch_size)]
            draws = [draw_views(self._crop, (height, width), self._seed, number, index) for index in picked.tolist()]
            rows = self._rows[picked]
            images = [self._pixels[row] for row in rows.tolist()]
            crops = make_views(images, draws, self._crop, mean=self._mean, std=self._std)
            yield crops, self._labels[sent(rows, self._labels.device)]
