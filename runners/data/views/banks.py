"""Batches by which features are measured: a bank of labelled images, then the images that are compared with it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from runners.data.dataset_info import Batch, EvalBatches
from runners.data.sharding import Share
from runners.data.transfer import sent

__all__ = ["BANK", "MEASURED", "BankedBatches"]

BANK, MEASURED = 0, 1
"""What an image is for: second column of the targets."""


class BankedBatches:
    """All images of a bank, then all of a split (`EvalBatches`): images (B, C, H, W), targets (B, 3), int64.

    A target is the label, `BANK` or `MEASURED`, and the position of the image in the bank or the split. No batch has
    images of both.

    Args:
        bank, split: batches in order, of `batch_size` images before they are shared out, the last one smaller.
        num_images: of the bank, and of the split.
        share: positions of this process's images in every batch, as `bank` and `split` have it; None: all.
    """

    def __init__(
        self,
        bank: EvalBatches,
        split: EvalBatches,
        *,
        num_images: tuple[int, int],
        batch_size: int,
        share: Share | None = None,
    ) -> None:
        self._parts = list(zip((BANK, MEASURED), (bank, split), num_images, strict=True))
        self._batch_size = batch_size
        self._share = share

    def __len__(self) -> int:
        return sum(len(batches) for _, batches, _ in self._parts)

    def __iter__(self) -> Iterator[Batch]:
        for part, batches, num_images in self._parts:
            for (images, labels), positions in zip(batches, self._positions(num_images), strict=True):
                columns = [labels, torch.full_like(labels, part), sent(positions, labels.device)]
                yield images, torch.stack(columns, dim=1)

    def _positions(self, num_images: int) -> Iterator[Tensor]:
        """Of this process's images of every batch; batches without one are skipped, as they are in sharded batches."""
        for begin in range(0, num_images, self._batch_size):
            size = min(self._batch_size, num_images - begin)
            mine = begin + (torch.arange(size) if self._share is None else self._share(size))
            if len(mine):
                yield mine
